"""Long logs: rows that are taken at once are what they are one by one, whatever is in the file."""

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers import csv_table, text_files
from thermograd.ingest.importers.formats.nvidia_smi import NvidiaSmi
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.rows import identities, row_store, spill
from thermograd.ingest.importers.rows.progress_bar import progress_bar
from thermograd.store.errors import LogError, ThermogradError
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run

_HEADER = (
    "timestamp, index, uuid, name, temperature.gpu, utilization.gpu [%], power.draw [W], clocks.sm [MHz], "
    "memory.used [MiB], clocks_event_reasons.active, clocks_event_reasons_counters.sw_thermal_slowdown [us], "
    "clocks_event_reasons_counters.hw_thermal_slowdown [us], pstate\n"
)
_OTHER = "timestamp, uuid, index, power.draw [W]\n"
_ODD = (
    "[N/A]",
    "[Not Supported]",
    "[Unknown Error]",
    "ERR!",
    "",
    "-1 W",
    "1e9 MHz",
    "0x4",
    "7 us",
    "3",
    "x" * 70,
)


def _row(rng: random.Random, second: int, gpu: int) -> str:
    return (
        f"2026/10/25 02:{second // 60 % 60:02}:{second % 60:02}.{gpu:03}, {gpu}, GPU-{gpu}, A, "
        f"{rng.randrange(30, 60)}, {rng.randrange(101)} %, {rng.uniform(50, 300):.2f} W, 1980 MHz, 10 MiB, "
        f"0x{rng.choice((0, 4)):016x}, {second} us, 5 us, P{rng.randrange(3)}\n"
    )


def _log(rng: random.Random, seconds: int = 150) -> list[str]:
    return [_HEADER] + [_row(rng, second, gpu) for second in range(seconds) for gpu in range(3)]


def _mutated(rng: random.Random) -> bytes:
    lines = _log(rng)
    for _ in range(rng.randrange(0, 14)):
        at = rng.randrange(1, len(lines))
        cells = lines[at].rstrip("\n").split(", ")
        fault = rng.randrange(10)
        if fault == 0:
            lines[at] = lines[at][: rng.randrange(len(lines[at]))] + "\n"
        elif fault == 1:
            lines.insert(at, lines[rng.randrange(1, len(lines))])
        elif fault == 2:
            lines.insert(at, rng.choice((_HEADER, "\n", "  \n", "lost\n", '"a", b\n', "\u00e9, \u2003\n")))
        elif fault == 3:
            lines[at:at] = [_OTHER, "2026/10/25 02:10:00.500, GPU-7, 7, 80 W\n", _HEADER]
        elif fault == 4:
            other = rng.randrange(1, len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif fault == 5:
            lines[at] = ", ".join([cells[0], *["[N/A]"] * (len(cells) - 1)]) + "\n"
        elif fault == 6:
            lines[at] = lines[at].replace("2026/", rng.choice(("2026-", "1960/", "x", "2026/13/")))
        elif fault == 7:
            lines[at] = lines[at].replace("\n", "\r\n")
        else:
            cells[rng.randrange(len(cells))] = rng.choice(_ODD)
            lines[at] = ", ".join(cells) + "\n"
    data = "".join(lines).encode()
    return data[: -rng.randrange(1, 9)] if rng.random() < 0.2 else data


def _outcome(folder: Path, path: Path) -> Any:
    """Return everything that an import said and wrote, but for what is new in each: ids."""
    try:
        result = import_run(folder, [path], timezone="UTC")
    except ThermogradError as error:
        return str(error)
    run = Run(folder / result.pop("run_id"))
    table = read_kind(run.path, "sample").drop_columns(["writer"])
    assert verify_run(run.path)["ok"]
    return result, run.facts["devices"], run.facts["import"], table.to_pylist()


def test_rows_that_are_taken_at_once_are_what_they_are_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small blocks, batches and windows, nearly all of it on the disk: every seam is met."""
    monkeypatch.setattr(csv_table, "_FEW_LINES", 4)
    at_once = []
    take = NvidiaSmi.prepare

    def counted(table: Any, block: Any) -> Any:
        taken = take(table, block)
        at_once.append(taken is not None)
        return taken

    monkeypatch.setattr(NvidiaSmi, "prepare", counted)
    for seed in range(8):
        rng = random.Random(seed)
        path = written(tmp_path / "smi.csv", _mutated(rng))
        monkeypatch.setattr(text_files, "_BLOCK_BYTES", rng.choice((1 << 23, 20_000, 4_000)))
        monkeypatch.setattr(spill, "_IN_MEMORY_BYTES", rng.choice((0, 1 << 20)))
        monkeypatch.setattr(row_store, "_WINDOW_ROWS", rng.choice((50, 1 << 20)))
        monkeypatch.setattr(identities, "_PART_ROWS", rng.choice((100, 1 << 20)))
        monkeypatch.setattr(NvidiaSmi, "is_at_once", True)
        many = _outcome(tmp_path / "many", path)
        monkeypatch.setattr(NvidiaSmi, "is_at_once", False)
        assert many == _outcome(tmp_path / "one", path), seed
    assert sum(at_once) > len(at_once) / 2


def _while_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Let something happen once the first block of the next file is read."""
    blocks = text_files.text_blocks

    def interrupted(path: Path) -> Iterator[text_files.TextBlock]:
        for number, block in enumerate(blocks(path)):
            yield block
            if not number:
                change()

    monkeypatch.setattr(csv_table, "text_blocks", interrupted)


def test_a_file_that_grows_is_imported_as_far_as_it_was_read_and_another_in_its_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _log(random.Random(0))
    path = written(tmp_path / "smi.csv", "".join(lines[:200]))
    whole = "".join(lines).encode()

    def grow() -> None:
        written(path, whole)
        path.chmod(0o644)

    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 4_000)
    _while_read(monkeypatch, grow)
    found = imported(tmp_path, path, timezone="UTC")
    read = found.result["account"]["read"]
    told = found.run.facts["import"]["files"][0]["sha256"]
    assert 199 <= read <= len(lines) - 1
    assert told == sha256("".join(lines[: read + 1]).encode()).hexdigest()
    for change in (
        lambda: written(tmp_path / "new.csv", whole).replace(path),
        lambda: written(path, whole[:3_000]),
        path.unlink,
    ):
        written(path, whole)
        _while_read(monkeypatch, change)
        assert "while it was read; import it again" in refused(tmp_path, path, timezone="UTC")


def test_a_full_disk_or_ctrl_c_in_mid_import_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "smi.csv", "".join(_log(random.Random(0))))
    monkeypatch.setattr(spill, "_IN_MEMORY_BYTES", 0)
    for place, error, expected in (
        ("thermograd.ingest.importers.rows.spill._nameless_file", OSError(28, "no space"), LogError),
        ("pyarrow.parquet.ParquetWriter.write_table", OSError(28, "no space"), LogError),
        ("thermograd.ingest.importers.rows.row_store.RowStore.put", KeyboardInterrupt(), KeyboardInterrupt),
        ("pyarrow.parquet.ParquetWriter.write_table", KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, Mock(side_effect=error))
            with pytest.raises(expected):
                import_run(tmp_path / "runs", [path], timezone="UTC")
        assert not (tmp_path / "runs").exists(), place


def test_lines_of_any_length_are_left_out_and_those_around_them_kept(tmp_path: Path) -> None:
    lines = _log(random.Random(0), seconds=2)
    lines[2:2] = ["x" * (5 << 20) + "\n", ", " * (1 << 19) + "\n"]
    found = imported(tmp_path, written(tmp_path / "smi.csv", "".join(lines)), timezone="UTC")
    assert found.result["rows"]["sample"] == 6
    assert found.result["account"]["left_out"] == found.result["account"]["read"] - 6


def test_a_bar_is_shown_on_a_terminal_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "smi.csv", "".join(_log(random.Random(0))))
    for is_terminal, is_wanted in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr("sys.stderr.isatty", lambda shown=is_terminal: shown, raising=False)
        with progress_bar(is_wanted):
            imported(tmp_path, path, timezone="UTC")
        assert ("rows/s" in capsys.readouterr().err) == (is_terminal and is_wanted)
