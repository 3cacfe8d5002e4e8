"""Whatever is in a file: it is imported, or refused in one sentence, and nothing is left behind."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from importing import imported, refused, written
from thermograd.benchmarks.fuzz_imports import fixtures
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.registry import FORMATS, folder_format, recognise
from thermograd.store.errors import ThermogradError
from thermograd.store.log.seal import verify_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import build_run, list_runs

_TOKENS = [
    b"nan",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"[",
    b"null",
    b"true",
    b",",
    b"\n",
]
_TOKENS += [b"\r", b"-9223372036854775809", b'{"a":1}', "°".encode("latin-1"), b"2026-11-24T10:00:00Z"]
EXAMPLES: dict[str, bytes] = {
    "an nvidia-smi log (CSV)": b"timestamp, index, temperature.gpu, power.draw [W]\n"
    b"2026/11/24 10:00:00.123, 0, 54, 250.1 W\n2026/11/24 10:00:01.123, 0, [N/A], 251.1 W\n",
    "Prometheus text": b"# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n"
    b'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 54 1700000000000\n'
    b'DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{gpu="0",UUID="GPU-1"} 4 1700000000000\n',
    "a Prometheus range query (JSON)": b'{"status": "success", "data": {"resultType": "matrix", "result": '
    b'[{"metric": {"__name__": "DCGM_FI_DEV_GPU_TEMP", "gpu": "0"}, "values": [[1700000000, "54"]]}]}}',
    "a HWiNFO log (CSV)": 'Date,Time,"GPU Temperature [°C]","GPU Power [W]",\n24.11.2026,10:0:1.5,54,250,\n'
    '24.11.2026,10:0:2.5,55,251,\n,,"GPU [#0]: A","GPU [#0]: A",\n'.encode("latin-1"),
    "a W&B history (CSV)": b"_step,_timestamp,train/loss,system.gpu.0.temp\n"
    b"1,1700000000.5,2.5,\n2,1700000001,,54\n",
    "a Hugging Face trainer_state.json": b'{"log_history": [{"step": 10, "loss": 1.0, "grad_norm": NaN}]}',
    "a step log (JSON)": b'[{"step": 1, "loss": 2.5, "grad_norm": 1, "timestamp": 1700000000.5}]',
    "JSON Lines": b'{"step": 1, "loss": 2.5, "time": 1700000000}\n{"step": 2, "loss": 2}\n',
    "a table (CSV)": b"time;gpu;power_w;step;loss\n1700000000000;0;250.0;1;2.5\n1700000001000;0;251;2;2\n",
    "an RLE device log (CSV)": b"timestamp,device,temp_c,power_w\n2026-11-24T10:00:00Z,gpu,54,250\n",
}
WITHOUT_TEXT_LOGS = [form for form in FORMATS if not (form.is_printed or "pattern" in form.hints)]
STATE_HINTS = Hints("2026-11-24T10:00:00Z", 0.5)


def hints_for(data: bytes) -> Hints:
    return STATE_HINTS if data.startswith(b'{"log_history"') else Hints()


def attempt(runs: Path, path: Path) -> tuple[str | None, int]:
    """Return the refusal, None if there is none, and how many rows came in; another error is raised."""
    try:
        result = import_run(runs, [path], timezone="UTC", hints=hints_for(path.read_bytes()))
    except ThermogradError as error:
        return str(error), 0
    return None, sum(result["rows"].values())


def test_there_is_an_example_or_a_fixture_of_every_format() -> None:
    """Those that are printed have theirs in test_printed.py."""
    recorded = {recognise(path)[1] for fixture in fixtures() for path in fixture.files}
    stores = (folder_format(fixture.path) for fixture in fixtures() if fixture.path.is_dir())
    recorded |= {store[0].name for store in stores if store is not None}
    assert {form.name for form in WITHOUT_TEXT_LOGS} <= EXAMPLES.keys() | recorded


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_recognised_by_content_and_imported_whole(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "anything.xyz", EXAMPLES[name])
    form, looks = recognise(path)
    assert form is not None
    assert looks == name
    found = imported(tmp_path, path, timezone="UTC", hints=hints_for(EXAMPLES[name]))
    assert sum(found.result["rows"].values()) >= 1
    assert verify_run(found.run.path)["ok"]
    assert found.run.facts["import"]["files"][0]["format"] == name


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_damaged_file_is_imported_or_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    runs = tmp_path / "runs"
    for _ in range(25):
        data = bytearray(EXAMPLES[name])
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 8))] = rng.choice((rng.choice(_TOKENS), b""))
        path = written(tmp_path / "a", bytes(data))
        before = len(list(runs.glob("*")))
        refusal, rows = attempt(runs, path)
        assert (rows > 0) == (refusal is None)
        assert refusal is None or refusal.startswith((str(path), "--started-at"))
        assert refusal is None or "accounted for" not in refusal  # rows read = kept + merged + left out
        assert len(list(runs.glob("*"))) == before + (refusal is None)
        assert not list(runs.glob(".*"))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "cut", [lambda data: data[:1], lambda data: data.split(b"\n")[0], lambda data: data[:-3]]
)
def test_a_file_cut_short_never_gives_a_value_that_is_not_in_it(
    tmp_path: Path, name: str, cut: Callable[[bytes], bytes]
) -> None:
    """A number whose end is missing is a wrong number."""
    data = cut(EXAMPLES[name])
    try:
        found = imported(tmp_path, written(tmp_path / "a", data), timezone="UTC", hints=hints_for(data))
    except ThermogradError:
        return
    for row in found.rows("sample") + found.rows("step"):
        for column in ("power_w", "temperature_c", "loss"):
            assert row.get(column) in (None, 54.0, 55.0, 250.0, 251.0, 250.1, 251.1, 1.0, 2.5)


def test_two_formats_in_one_folder_are_one_run_or_a_question(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    written(folder / "a", EXAMPLES["a step log (JSON)"])
    written(folder / "b", EXAMPLES["Prometheus text"].replace(b"00000000000", b"00000000500"))
    assert imported(tmp_path, folder).result["rows"] == {"step": 1, "sample": 1, "metric": 0}
    written(folder / "c", EXAMPLES["an RLE device log (CSV)"])
    assert "2 device logs (b, c); a run has one of each kind, say which with --telemetry" in refused(
        tmp_path, folder
    )


def test_a_lost_event_of_an_import_is_told_from_a_note_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is nearly full the log adds a note of its own; that is no reason to refuse."""
    monkeypatch.setattr("thermograd.store.log.writer._LITTLE_SPACE_BYTES", 1 << 62)
    monkeypatch.setattr("thermograd.store.log.writer._SYNC_PERIOD_S", 0.01)
    close = EventWriter.close

    def close_late(writer: EventWriter) -> None:
        """Wait until the log's thread has looked at the disk."""
        end = time.monotonic() + 60
        while not writer._space_said and time.monotonic() < end:
            time.sleep(0.001)
        close(writer)

    monkeypatch.setattr(EventWriter, "close", close_late)
    entries = [{"step": n, "loss": 1.0, "timestamp": 1_700_000_000 + n} for n in range(1, 20_000)]
    found = imported(tmp_path, written(tmp_path / "a.json", json.dumps(entries)))
    assert found.result["rows"]["step"] == 19_999
    assert [row["mark"] for row in found.rows("mark")] == ["note"]


# -- ends that nobody chose ------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.runs.bulk import BulkWriter
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(BulkWriter, sys.argv[3], killed)
import_run(Path(sys.argv[1]), [Path(sys.argv[2])])
"""

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from thermograd.cli import main
main(["--runs", sys.argv[1], "import", sys.argv[2]])
"""


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    entries = [{"step": n, "loss": 1.0 / n, "timestamp": 1_700_000_000 + n} for n in range(1, 20_001)]
    return written(tmp_path / "long.json", json.dumps(entries))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("at", ["append_table", "close"])
def test_a_kill_in_mid_import_leaves_nothing_to_be_seen_and_the_next_import_cleans_up(
    tmp_path: Path, long_log: Path, at: str
) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "-c", _KILLED, str(runs), str(long_log), at]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list_runs(runs) == []
    assert len(list(runs.iterdir())) == 1
    found = imported(tmp_path, long_log)
    assert found.result["rows"]["step"] == 20_000
    assert list(runs.iterdir()) == [found.run.path]
    assert verify_run(found.run.path)["ok"]


def test_a_half_built_run_of_a_living_process_is_let_alone(tmp_path: Path, long_log: Path) -> None:
    runs = tmp_path / "runs"
    with build_run(runs, "simulated", {}) as other:
        found = imported(tmp_path, long_log)
        assert other.path.is_dir()
    assert len(list_runs(runs)) == 2
    assert not (runs / other.run_id / "builder.json").exists()
    assert found.run.path.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
def test_a_disk_that_takes_no_more_leaves_nothing_behind_and_is_said_in_one_sentence(
    tmp_path: Path, long_log: Path
) -> None:
    """The kernel refuses to let a file grow, as it does on a full disk."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-c", _LIMITED, str(runs), str(long_log)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert not runs.exists()


def test_the_page_on_importing_names_every_format() -> None:
    page = (Path(__file__).parents[3] / "docs/importing.md").read_text().replace("`", "")
    for form in WITHOUT_TEXT_LOGS:
        assert form.name.removeprefix("an ").removeprefix("a ") in page
