"""Long logs: rows that are taken at once are what they are one by one, whatever is in the file."""

import random
from pathlib import Path
from typing import Any

import pytest
from importing import written
from thermograd.ingest.importers import csv_table, text_files
from thermograd.ingest.importers.formats.nvidia_smi import NvidiaSmi
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.rows import identities, row_store, spill
from thermograd.store.errors import ThermogradError
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
