"""The report of a long run: 1 M steps and 10 M samples of 8 devices, 35 hours; time, memory, bytes.

The run is written as sealed files, with one spike of the gradient norm and one collapse of each device's
clock, each a single event; afterwards the page is searched for all of them.
"""

import argparse
import json
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rows import HEADER, load, parser, row
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.store.events import arrow_schema
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import Run, create_run

START_NS = 1_780_000_000 * 10**9
DEVICES, STEPS_HZ, SPIKE, COLLAPSED_MHZ = 8, 8.0, 777.0, 123.0


def table(kind: str, columns: dict[str, Any], count: int) -> pa.Table:
    """Return events of a kind; columns that are not given are null."""
    schema = arrow_schema(kind)
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema
    ]
    return pa.table(arrays, schema=schema)


def common(count: int, hz: float) -> dict[str, Any]:
    """Return the columns that every event has, so many a second."""
    elapsed_ns = (np.arange(count) * (1e9 / hz)).astype(np.int64)
    return {"seq": np.arange(count), "time_ns": START_NS + elapsed_ns, "monotonic_ns": 10**12 + elapsed_ns}


def build(folder: Path, steps: int, samples: int, seed: int) -> Run:
    """Write the run: one spike of the norm, and one collapse of each device's clock."""
    rng = np.random.default_rng(seed)
    names = [f"GPU-{place:08d}-0000-0000-0000-000000000000" for place in range(DEVICES)]
    facts = {"model": "benchmark", "rated_power_w": 700.0, "temperature_limit_c": 87.0}
    run = create_run(folder, "long", {"started_time_ns": START_NS, "devices": dict.fromkeys(names, facts)})
    norm = np.exp(0.3 * rng.normal(size=steps))
    norm[int(rng.integers(steps))] = SPIKE
    values = {
        "step": np.arange(1, steps + 1),
        "loss": 2 + 3 * np.exp(-np.arange(steps) / (steps / 5)) + 0.05 * rng.normal(size=steps),
        "grad_norm": norm,
        "learning_rate": 1e-4 * (1 - np.arange(steps) / steps),
        "step_time_s": np.full(steps, 1 / STEPS_HZ),
    }
    write_sealed(run, "host-r0", "step", table("step", common(steps, STEPS_HZ) | values, steps))
    each = samples // DEVICES
    hz = each / (steps / STEPS_HZ)
    for place, name in enumerate(names):
        clock = 1900 + 15 * np.round(rng.normal(size=each))
        clock[int(rng.integers(each))] = COLLAPSED_MHZ + place
        values = {
            "device": [name] * each,
            "utilization_pct": 95 + rng.integers(0, 5, each),
            "power_w": 650 + 20 * rng.normal(size=each),
            "temperature_c": 70 - 20 * np.exp(-np.arange(each) / 5000) + np.round(rng.normal(size=each)),
            "sm_clock_mhz": clock,
        }
        write_sealed(run, f"host-a{place}", "sample", table("sample", common(each, hz) | values, each))
    return run


def write_sealed(run: Run, writer: str, kind: str, events: pa.Table) -> None:
    """Write all events of a writer as one sealed file."""
    path = run.path / "sealed" / kind / f"{writer}-{0:012}-{len(events) - 1:012}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(kind, run.run_id, writer)
    write_parquet(path, events.replace_schema_metadata(schema.metadata), kind)


def extremes(page: str) -> tuple[float, set[float]]:
    """Return the highest value of the page's curves and those below 200 MHz that belong to a clock."""
    text = re.search(r'<script type="application/json" id="data-timeline">(.*?)</script>', page, re.S)
    if text is None:
        raise ValueError("the page has no timeline")
    values = [v for v in _numbers(json.loads(text.group(1))) if v is not None]
    clocks = {v for v in values if COLLAPSED_MHZ <= v < COLLAPSED_MHZ + DEVICES}
    return max(v for v in values if v < 1000), clocks


def _numbers(spec: dict[str, Any]) -> list[float | None]:
    found: list[float | None] = []
    for packed in spec["datasets"].values():
        column = packed["c"].get("v", [])
        found += column if isinstance(column, list) else []
    return found


def main() -> None:
    """Measure and print the rows."""
    options: argparse.Namespace = parser(__doc__).parse_args()
    steps, samples = (20_000, 160_000) if options.quick else (1_000_000, 10_000_000)
    print(f"{steps:,} steps, {samples:,} samples of {DEVICES} devices, {load()}\n\n{HEADER}")
    with tempfile.TemporaryDirectory() as folder:
        run = build(Path(folder), steps, samples, options.seed)
        begun = time.process_time()
        series = load_series(run)
        analysis = analyze_run(run, series=series)
        analysed = time.process_time()
        page_path = write_report(run, analysis, series=series)["report"]
        done = time.process_time()
        page = page_path.read_text(encoding="utf-8")
    size = len(page.encode()) / 1e6
    print(row("page", "< 3 MB", f"{size:.2f} MB", "-", "-", size < 3))
    highest, clocks = extremes(page)
    kept = highest == SPIKE and len(clocks) == DEVICES
    told = f"spike {highest:g}, {len(clocks)} of {DEVICES} collapses"
    print(row("spike and collapses in the page", "all", told, "-", "-", kept))
    print(row("reading and analysis, CPU", "-", f"{analysed - begun:.1f} s", "-", "-", None))
    print(row("page and figures, CPU", "-", f"{done - analysed:.1f} s", "-", "-", None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(row("peak memory", "-", f"{peak:.1f} GiB", "-", "-", None))


if __name__ == "__main__":
    main()
