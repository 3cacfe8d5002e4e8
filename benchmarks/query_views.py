"""Every view, macro and recipe of the docs over a day's run, and `aligned` over a million steps and samples.

The day is `simulate --scenario throttling --minutes 1440 --seed 9`. Each query is asked through `query`,
opening the connection included, as often as `--rounds` says; those over a million, 64 devices and many runs
each in a process of its own, whose peak memory is its row's. `aligned` is compared in every row with
`analysis.align.nearest`.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from rows import HEADER, load, parser, row
from thermograd.analysis.align import nearest
from thermograd.cli import main as cli
from thermograd.store.events import arrow_schema
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.segments import write_parquet
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import create_run

ROOT = Path(__file__).parents[1]
START_NS = 1_780_000_000_000_000_000
VIEWS = {
    "`steps`": "SELECT count(*), max(loss) FROM steps",
    "`samples`": "SELECT count(*), max(temperature_c) FROM samples",
    "`alerts`, `marks`": "SELECT (SELECT count(*) FROM alerts), (SELECT count(*) FROM marks)",
    "`runs`, `config`": "SELECT * FROM runs LEFT JOIN config USING (run_id)",
    "`metrics`": "SELECT count(*) FROM metrics",
    "`aligned`, counted": "SELECT count(*) FROM aligned",
    "`aligned`, matched": "SELECT count(dt_s), avg(loss * temperature_c) FROM aligned",
    "`aligned`, every column": "SELECT * FROM aligned",
    "`aligned_with(0.2)`": "SELECT count(dt_s) FROM aligned_with(0.2)",
    "`around(alert, 5)`": "SELECT * FROM around((SELECT min(seq) FROM alerts), 5)",
    "`around(time, 60)`": "SELECT * FROM around((SELECT make_timestamp_ns(min(time_ns) + 43200000000000) "
    "FROM steps), 60)",
    "`efficiency`": "SELECT avg(rle) FROM efficiency",
    "`throttling`": "SELECT * FROM throttling",
    "`episodes`": "SELECT * FROM episodes",
    "samples within 0.5 s of each step": "SELECT count(*) FROM steps s JOIN samples m "
    "ON m.time_ns BETWEEN s.time_ns - 500000000 AND s.time_ns + 500000000",
    "own ASOF join": "SELECT count(m.time_ns) FROM steps s ASOF LEFT JOIN samples m "
    "ON s.run_id = m.run_id AND s.time_ns >= m.time_ns",
}
PEAK = """
import sys, time
from thermograd.store.query.connection import query
begun = time.perf_counter()
rows = query(sys.argv[2], sys.argv[1]).to_pylist()
seconds = time.perf_counter() - begun
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, peak_kb / 1024, rows[0]["n"])
"""


def recipes() -> dict[str, str]:
    """Return the SQL of the docs, by the file and the heading under which it stands."""
    found = {}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        heading = ""
        for title, block in re.findall(r"^#+ ([^\n]*)$|^```sql\n(.*?)^```", path.read_text(), re.M | re.S):
            heading = title or heading
            if block:
                number = sum(name.startswith(f"{path.name}: {heading}") for name in found)
                found[f"{path.name}: {heading}{f' ({number + 1})' if number else ''}"] = block
        for sql in re.findall(r'thermograd query "(SELECT[^"]*)"', path.read_text()):
            found[f"{path.name}: {sql[:40]}..."] = sql
    return found


def table_of(kind: str, columns: dict[str, object]) -> pa.Table:
    """Return events of a kind, columns that are not given null."""
    schema, count = arrow_schema(kind), len(columns["time_ns"])
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema
    ]
    return pa.table(arrays, schema=schema)


def make_run(runs: Path, run_id: str, steps: int, samples: int, devices: int, seed: int) -> None:
    """Write a finished run: steps at random times, every device read ten times a second."""
    rng = np.random.default_rng(seed)
    run = create_run(runs, run_id, run_id=run_id)
    at = np.repeat(np.arange(samples // devices) * 100_000_000, devices)
    sampled = np.sort(at + rng.integers(0, 10_000_000, at.size)) + START_NS
    stepped = np.sort(rng.integers(0, max(1, samples // devices * 100_000_000), steps)) + START_NS
    names = np.array([f"GPU-{number:08x}-41c7-4c1b-a5a5-bd0d0bf5a7e1" for number in range(devices)])
    columns = {
        "step": {"time_ns": stepped, "step": np.arange(steps), "loss": rng.normal(2, 0.1, steps)},
        "sample": {
            "time_ns": sampled,
            "device": np.tile(names, samples // devices),
            "temperature_c": rng.normal(70, 3, sampled.size),
            "utilization_pct": rng.uniform(50, 100, sampled.size),
        },
    }
    for kind, given in columns.items():
        count, writer = len(given["time_ns"]), f"host-{kind}"
        table = table_of(kind, given | {"seq": np.arange(count), "monotonic_ns": given["time_ns"] - START_NS})
        schema = arrow_schema(kind, run_id, writer)
        path = run.path / "sealed" / kind / f"{writer}-{0:012}-{count - 1:012}.parquet"
        write_parquet(path, table.replace_schema_metadata(schema.metadata), kind)
        write_json(writer_file(run.path, writer), {"writer": writer, "role": "training", "closed_time_ns": 1})


def differing_rows(runs: Path) -> int:
    """Return in how many rows `aligned` is not what the matcher on arrays says."""
    found = query("SELECT time_ns, sample_seq FROM aligned ORDER BY seq", runs)
    sampled = query("SELECT time_ns FROM samples ORDER BY time_ns, seq", runs)["time_ns"].to_numpy()
    seqs = query("SELECT seq FROM samples ORDER BY time_ns, seq", runs)["seq"].to_numpy()
    steps = found["time_ns"].to_numpy()
    place = nearest(steps, sampled, 1_000_000_000)
    given = found["sample_seq"].fill_null(-1).to_numpy()
    return int((given != np.where(place < 0, -1, seqs[place])).sum())


def print_day(runs: Path, rounds: int) -> None:
    """Print a row a view, a macro and a recipe."""
    for what, sql in (VIEWS | recipes()).items():
        walls, cpus = [], []
        for _ in range(rounds):
            begun, worked = time.perf_counter(), time.process_time()
            rows = len(query(sql, runs))
            walls.append(time.perf_counter() - begun)
            cpus.append(time.process_time() - worked)
        spread = f"{min(walls):.2f} to {max(walls):.2f}"
        shown = (
            f"{statistics.median(walls):.2f} s ({spread}), {statistics.median(cpus):.2f} s CPU; {rows:,} rows"
        )
        print(row(what, "3 s", shown, "-", "-", statistics.median(walls) <= 3.0), flush=True)
    wrong = differing_rows(runs)
    print(row("rows of `aligned` that are not the matcher's", "0", str(wrong), "-", "-", wrong == 0))


def print_peak(what: str, runs: Path, goal: tuple[float, float] | None, sql: str) -> None:
    """Print time and peak memory of one query in a process of its own."""
    command = [sys.executable, "-c", PEAK, str(runs), sql]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, peak_mib, count = (float(word) for word in output.split())
    reached = None if goal is None else seconds <= goal[0] and peak_mib <= goal[1]
    aim = "-" if goal is None else f"{goal[0]:.0f} s, {goal[1]:,.0f} MiB"
    print(
        row(what, aim, f"{seconds:.2f} s, {peak_mib:,.0f} MiB ({count:,.0f})", "-", "-", reached), flush=True
    )


def print_large(folder: Path, quick: bool) -> None:
    """Print the rows of many steps, many devices and many runs."""
    many = 10 if quick else 1
    matched = "SELECT count(dt_s) AS n FROM aligned"
    make_run(folder / "million", "million", 1_000_000 // many, 1_000_000 // many, 1, 0)
    print_peak(
        "1 M steps x 1 M samples, counted",
        folder / "million",
        (10, 1024),
        "SELECT count(*) AS n FROM aligned",
    )
    print_peak("1 M steps x 1 M samples, matched", folder / "million", (10, 1024), matched)
    make_run(folder / "devices", "devices", 100_000 // many, 6_400_000 // many, 64, 1)
    print_peak("100,000 steps x 64 devices of 100,000 samples, matched", folder / "devices", None, matched)
    for number in range(1_000 // many):
        make_run(folder / "many", f"20261127-120000-run-number-{number:04}", 1_000, 500, 1, number)
    one = f"{matched} WHERE run_id = '20261127-120000-run-number-0007'"
    print_peak("1,000 runs of 1,000 steps and 500 samples, matched", folder / "many", None, matched)
    print_peak("one of these 1,000 runs, matched", folder / "many", None, one)
    one = "SELECT count(rle) AS n FROM efficiency WHERE run_id = '20261127-120000-run-number-0007'"
    print_peak("one of these 1,000 runs, efficiency", folder / "many", None, one)


def main() -> None:
    """Make the runs, ask, print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--day", type=Path, help="folder with the day's run, if it is there already")
    arguments.add_argument("--only", choices=["day", "large"], help="half of it")
    options = arguments.parse_args()
    rounds = options.rounds or (1 if options.quick else 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day = options.day or folder / "day"
        if options.day is None and options.only != "large":
            minutes = "60" if options.quick else "1440"
            simulate = ["simulate", "--scenario", "throttling", "--minutes", minutes, "--seed", "9"]
            cli(["--runs", str(day), *simulate], standalone_mode=False)
        print(f"{rounds} rounds, {load()}, Python {sys.version.split()[0]}\n\n{HEADER}")
        if options.only != "large":
            print_day(day, rounds)
        if options.only != "day":
            print_large(folder, options.quick)


if __name__ == "__main__":
    main()
