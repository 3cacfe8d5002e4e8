"""Importing files in tests: what came of it, or the sentence with which it was refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.errors import ImportFormatError
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

Importer = Callable[..., tuple[dict[str, Any], Run]]
SUMMARY = "end-of-training summary (last row: repeated step, null loss and grad_norm)"
HEADER = "timestamp,device,rle_smoothed,temp_c,power_w,util_pct,collapse\n"
STEP = {"step": 1, "loss": 2.0, "grad_norm": 3.0, "learning_rate": 0.1, "epoch": 0.5}


class Imported(NamedTuple):
    """What `import_run` returned, and the run."""

    result: dict[str, Any]
    run: Run

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the run's events of a kind, in time order, without columns that are null in all of them."""
        rows = read_kind(self.run.path, kind).to_pylist()
        known = {name for row in rows for name, value in row.items() if value is not None}
        known -= {"seq", "writer", "monotonic_ns"}
        return [{name: value for name, value in row.items() if name in known} for row in rows]


def imported(folder: Path, *paths: Path, **options: Any) -> Imported:
    """Import into a directory of runs beside the files."""
    runs = folder / "runs"
    result = import_run(runs, list(paths), **options)
    return Imported(result, Run(runs / result["run_id"]))


def refused(folder: Path, *paths: Path, **options: Any) -> str:
    """Return the sentence of a refusal; nothing must be left behind."""
    runs = folder / "refused_runs"
    with pytest.raises(ImportFormatError) as caught:
        import_run(runs, list(paths), **options)
    assert not runs.exists() or not list(runs.iterdir())
    return str(caught.value)


def written(path: Path, content: str | bytes) -> Path:
    """Write a file as it is: no line end is changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, list):
        content = json.dumps(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def device_rows(*rows: str) -> str:
    return HEADER + "".join(f"{row}\n" for row in rows)


def rows_of(run: Run, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_kind(run.path, kind).to_pylist()
    return rows


UUID = "GPU-2a9c1d3e-0000-1111-2222-333344445555"
SMI_HEADER = (
    "timestamp, index, uuid, name, temperature.gpu, temperature.memory, utilization.gpu [%], power.draw [W], "
    "enforced.power.limit [W], clocks.current.sm [MHz], memory.used [MiB], fan.speed [%], "
    "clocks_event_reasons.active, clocks_event_reasons_counters.sw_thermal_slowdown [us], "
    "clocks_event_reasons_counters.hw_thermal_slowdown [us], pstate\n"
)


def smi_row(second: str, index: int, temperature: str = "54", power: str = "250.13 W") -> str:
    return (
        f"2026/11/24 10:00:{second}, {index}, {UUID[:-1]}{index}, NVIDIA H100, {temperature}, [N/A], 98 %, "
        f"{power}, 700.00 W, 1980 MHz, 1024 MiB, [Not Supported], 0x0000000000000004, 10 us, 5 us, P0\n"
    )


def exposition(*scrapes: int, device: str = UUID) -> str:
    lines = []
    for number, time_ms in enumerate(scrapes):
        labels = f'{{gpu="0",UUID="{device}",device="nvidia0",modelName="NVIDIA H100",Hostname="node\\"1"}}'
        for name, kind, value in (
            ("GPU_TEMP", "gauge", 54 + number),
            ("POWER_USAGE", "gauge", "250.125"),
            ("TOTAL_ENERGY_CONSUMPTION", "counter", 1_000_000 + 250_125 * number),
            ("FB_USED", "gauge", 1024),
            ("POWER_VIOLATION", "counter", 5000),
            ("MEMORY_TEMP", "gauge", "NaN"),
            ("FAN_SPEED", "gauge", 9223372036854775792),
            ("XID_ERRORS", "gauge", 0),
        ):
            full = f"DCGM_FI_DEV_{name}"
            lines += [f"# HELP {full} Some help (in units).", f"# TYPE {full} {kind}"]
            lines.append(f"{full}{labels} {value} {time_ms}")
    return "\n".join(lines) + "\n"
