"""Every file of tests/fixtures/imports: what it is, that it is imported whole, and what damage does to it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing import refused, written
from thermograd.benchmarks import fuzz_imports
from thermograd.benchmarks.fuzz_imports import Fixture, attempt, fixtures, fuzz
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.registry import recognise
from thermograd.store.errors import ImportFormatError

TIMED = {"DeepSpeed", "Megatron-LM", "OLMo", "fairseq", "torchtitan"}
UNTIMED = {
    *(
        "Hugging Face Trainer (printed)",
        "Megatron-LM",
        "NeMo",
        "NeMo (progress bar)",
        "build-nanogpt",
        "llm.c",
    ),
    *("modded-nanogpt", "nanoGPT", "nanochat", "torchtune", "torchtune (progress bar)"),
}
FORMATS = {  # of the files in a folder, all of them
    "afterburner": {"an MSI Afterburner monitoring log"},
    "amd_smi": {
        "an amd-smi log (CSV)",
        "an amd-smi log (CSV) without times",
        "an amd-smi log (JSON)",
        "an amd-smi log (JSON) without times",
    },
    "codecarbon": {"a CodeCarbon emissions file (CSV)"},
    "dcgm": {"Prometheus text"},
    "dcgmi": {"a dcgmi dmon log"},
    "dmon": {"an nvidia-smi dmon log", "an nvidia-smi dmon log without dates"},
    "gpu_z": {"a GPU-Z sensor log"},
    "gpustat": {"what gpustat --json wrote", "what gpustat showed"},
    "huggingface": {"a Hugging Face trainer_state.json"},
    "hwinfo": {"a HWiNFO log (CSV)"},
    "keras": {"a log of Keras' CSVLogger"},
    "llama_factory": {"LLaMA-Factory's trainer_log.jsonl"},
    "influx": {"InfluxDB line protocol", "the line protocol of a run of thermograd"},
    "mlflow": {"an MLflow database (SQLite)"},
    "trackio": {"a Trackio database (SQLite)"},
    "nvidia_smi": {"an nvidia-smi log (CSV)"},
    "prometheus": {"a Prometheus range query (JSON)"},
    "rocm_smi": {"what rocm-smi --csv printed", "what rocm-smi --json printed"},
    "smi_query": {"what nvidia-smi -q printed", "what nvidia-smi -q -x printed"},
    "smi_screen": {"the screen of nvidia-smi"},
    "text_logs": {f"a log of {program} (text)" for program in TIMED}
    | {f"a log of {program} (text without times)" for program in UNTIMED},
    "tables": {"a table (Parquet)", "a table (CSV)", "JSON Lines"},
    "tensorboard": {"a TensorBoard event file"},
    "powermetrics": {"a powermetrics log", "a powermetrics log (plist)"},
    "tegrastats": {"a tegrastats log"},
    "turbostat": {"a turbostat log"},
    "zeus": {"Zeus' power over time (CSV)", "Zeus' energy windows (CSV)"},
    "ultralytics": {"an Ultralytics results.csv"},
    "wandb": {
        *("a W&B run (.wandb)", "a W&B history (CSV)"),
        *("a chart of W&B (CSV)", "a chart of W&B over wall time (CSV)"),
    },
}
_DAMAGED = 150  # copies in all, of the fixtures in turn


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_each_file_is_recognised_as_what_its_folder_says_and_as_nothing_else() -> None:
    found: dict[str, set[str]] = {}
    for fixture in fixtures():
        if fixture.path.is_file() and fixture.format != "rle":
            found.setdefault(fixture.format, set()).add(recognise(fixture.path)[1])
    assert found == FORMATS


def test_each_fixture_is_imported_whole(tmp_path: Path) -> None:
    """With the options that its refusal asks for, where it needs some."""
    outcomes = [attempt(fixture.path, tmp_path / str(n)) for n, fixture in enumerate(fixtures())]
    assert {str(outcome) for outcome in outcomes} == {str(fuzz_imports.Outcome(None, None))}


def test_damaged_copies_are_imported_whole_or_refused_in_a_sentence(tmp_path: Path) -> None:
    """`benchmarks/fuzz_imports.py` does this with thousands of each format."""
    every = fixtures()
    others = [path.read_bytes() for fixture in every for path in fixture.files]
    tried = [(n, *fuzz(f"suite {n}", every[n % len(every)], others, tmp_path)) for n in range(_DAMAGED)]
    assert [one for one in tried if one[1].fault] == []
    refused = sum(outcome.refusal is not None for _, outcome, _ in tried)
    assert _DAMAGED / 5 < refused < _DAMAGED * 4 / 5  # of each sort enough


def test_a_refusal_quotes_no_control_character(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "time,\x1b[31mred\n1,2\n")
    assert "(\ufffd[31mred, time); say which" in refused(tmp_path, path)


def leaves_a_file(runs: Path, *_: Any, **__: Any) -> None:
    (runs / "half").mkdir(parents=True)
    raise ImportFormatError("refused")


def breaks(*_: Any, **__: Any) -> None:
    raise KeyError("temperature")


def miscounts(*arguments: Any, **options: Any) -> dict[str, Any]:
    result = import_run(*arguments, **options)
    return result | {"account": result["account"] | {"kept": 0}}


def invents_rows(*arguments: Any, **options: Any) -> dict[str, Any]:
    result = import_run(*arguments, **options)
    return result | {"rows": {"step": 7, "sample": 0}}


@pytest.mark.parametrize(
    ("importer", "fault"),
    [
        (leaves_a_file, "left behind: ['half']"),
        (breaks, "KeyError: 'temperature'"),
        (miscounts, "rows do not balance"),
        (invents_rows, "{'step': 7, 'sample': 0} rows were said to be imported"),
    ],
)
def test_what_is_wrong_with_an_importer_is_found(
    runs: Path, monkeypatch: pytest.MonkeyPatch, importer: Callable[..., Any], fault: str
) -> None:
    monkeypatch.setattr(fuzz_imports, "import_run", importer)
    fixture = next(f for f in fixtures() if f.format == "nvidia_smi")
    assert fault in str(attempt(fixture.path, runs).fault)


def test_the_seed_gives_the_same_file_again(tmp_path: Path) -> None:
    fixture = Fixture("hwinfo", next(f for f in fixtures() if f.format == "hwinfo").path)
    copies = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        path, how = fuzz_imports.damaged_copy(random.Random("4 hwinfo 2"), fixture, [b"x"], folder)
        copies.append((path.read_bytes(), how))
    assert copies[0] == copies[1]
    assert copies[0][0] != fixture.path.read_bytes()
