"""Bytes of a sealed event against its peers', and sealing against pyarrow's zstd default.

Same events everywhere. TensorBoard keeps float32, all others float64. Sealing: the same table, by
`write_parquet` and by `pyarrow.parquet.write_table(compression="zstd")`, both brought to the disk
(fsync); in turn, A B B A.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from peer_writers import NAMES, thermograd, values
from rows import HEADER, load, paired, parser, peers_python, row
from thermograd.store.events import arrow_schema
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import Run

# Their data files alone, without what they note about the process.
PEERS = (
    ("TensorBoard", "tensorboard", "events.out.tfevents.*", 1 / 10, "1/10"),
    ("wandb, offline", "wandb", "*.wandb", 1 / 20, "1/20"),
)


def data_bytes(folder: Path, pattern: str) -> int:
    """Return the size of the files below a folder that match."""
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def sealed_bytes(events: int, seed: int, rate_s: float) -> float:
    """Write the events through `EventWriter`, seal, check them, return bytes an event."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, close = thermograd(folder)
        rows = values(events, seed)
        for i, v in enumerate(rows):
            log(i + 1, v)
            if rate_s:
                time.sleep(rate_s)
        close()
        run = Run(folder / "bench")
        seal_run(run.path, run.run_id)
        table = read_kind(run.path, "step")
        if list(zip(*(table.column(n).to_pylist() for n in NAMES), strict=True)) != rows:
            raise RuntimeError("the sealed events are not the ones that were appended")
        return data_bytes(run.path, "*.parquet") / events


def peer_bytes(writer: str, pattern: str, events: int, seed: int) -> float:
    """Return the bytes an event that a peer needs for the same values."""
    script = Path(__file__).with_name("peer_writers.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(peers_python()), str(script), writer, str(events), folder, str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        return data_bytes(Path(folder), pattern) / events


def step_table(events: int, seed: int) -> pa.Table:
    """Return a step table as one rank logs it: clocks with jitter, the drawn values, the rest null."""
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = dict(zip(NAMES, zip(*values(events, seed), strict=True), strict=True))
    elapsed = np.cumsum(np.round(np.array(drawn["step_time_s"]) * 1e9).astype(np.int64))
    columns = {
        "seq": np.arange(events),
        "time_ns": 1_780_000_000_000_000_000 + elapsed + rng.integers(0, 50_000, events),
        "monotonic_ns": 8_000_000_000_000 + elapsed,
        "step": np.arange(1, events + 1),
        "rank": np.zeros(events, np.int64),
    } | drawn
    schema = arrow_schema("step", "bench", "bench-r0")
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(events, f.type) for f in schema
    ]
    return pa.table(arrays, schema=schema)


def seconds_default(path: Path, table: pa.Table) -> float:
    """Write with pyarrow's defaults and zstd, sync, and return the wall time."""
    begun = time.perf_counter()
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - begun


def seconds_ours(path: Path, table: pa.Table) -> float:
    """Write as sealing does and return the wall time."""
    begun = time.perf_counter()
    write_parquet(path, table, "step")
    return time.perf_counter() - begun


def print_sealing(events: int, rounds: int, seed: int) -> None:
    """Print the rows of sealing: time and bytes."""
    table = step_table(events, seed)
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        mine, default = Path(name) / "ours.parquet", Path(name) / "default.parquet"
        seconds_default(default, table), seconds_ours(mine, table)
        for turn in range(rounds):
            for is_ours in (True, False) if turn % 2 == 0 else (False, True):
                if is_ours:
                    ours.append(seconds_ours(mine, table))
                else:
                    theirs.append(seconds_default(default, table))
        sizes = mine.stat().st_size, default.stat().st_size
    what, goal = f"sealing {events:,} steps", "<= 0.7x pyarrow's zstd default"
    ratio, text = paired(ours, theirs)
    shown = f"best {min(ours):.3f} s", f"best {min(theirs):.3f} s"
    print(row(f"{what}: time", goal, *shown, text, ratio <= 0.7))
    ratio = sizes[0] / sizes[1]
    shown = f"{sizes[0] / events:.1f} B/event", f"{sizes[1] / events:.1f} B/event"
    print(row(f"{what}: bytes", goal, *shown, f"{ratio:.3f}", ratio <= 0.7))


def main() -> None:
    """Measure and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=None, help="appended, for the bytes")
    arguments.add_argument("--sealed-events", type=int, default=None, help="of the table that is sealed")
    arguments.add_argument("--pause", type=float, default=0.0, help="seconds between two appends")
    options = arguments.parse_args()
    events = options.events or (2_000 if options.quick else 20_000)
    sealed = options.sealed_events or (65_536 if options.quick else 1_000_000)
    rounds = options.rounds or (3 if options.quick else 9)
    ours = sealed_bytes(events, options.seed, options.pause)
    print(f"{events:,} events of a step and 6 scalars, {load()}\n\n{HEADER}")
    if peers_python() is None:
        print("no .venv-peers: sh benchmarks/peers_env.sh makes it", file=sys.stderr)
    for title, writer, pattern, limit, text in PEERS if peers_python() else ():
        theirs = peer_bytes(writer, pattern, events, options.seed)
        shown = f"{ours:.1f} B", f"{theirs:.0f} B"
        reached = ours / theirs <= limit
        ratio = f"{ours / theirs:.4f} (1/{theirs / ours:.1f})"
        print(row("bytes a sealed event", f"<= {text} of {title}", *shown, ratio, reached))
    print_sealing(sealed, rounds, options.seed)


if __name__ == "__main__":
    main()
