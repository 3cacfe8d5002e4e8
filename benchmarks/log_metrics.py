"""What one ``run.log`` of ten values costs: against its limit, an ``os.write`` of as many bytes, and peers.

Each writer has a process of its own; they take turns. wandb (offline) and TensorBoard, where they are
installed, log the same dictionary in the way their users do. What a killed process loses differs:
``run.log`` has its values in the page cache when the call returns, the peers have them in a queue.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rows import HEADER, load, paired, parser, row

VALUES = 10
LIMIT_US = 30.0
WRITERS = ("thermograd", "write", "wandb", "tensorboard")
Log = Callable[[dict[str, float], int], object]


def thermograd(folder: Path) -> tuple[Log, Callable[[], object]]:
    """Log as a script does."""
    from thermograd.ingest.run import start_run

    run = start_run("bench", folder, agent=False)
    run.step(loss=1.0)
    return lambda values, step: run.log(values, step=step), run.close


def write(folder: Path) -> tuple[Log, Callable[[], object]]:
    """Write as many bytes as `thermograd` does, to a file."""
    handle = os.open(folder / "bytes", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    data = b"x" * 84 * VALUES
    return lambda values, step: os.write(handle, data), lambda: os.close(handle)


def wandb(folder: Path) -> tuple[Log, Callable[[], object]]:
    """Log to wandb offline."""
    os.environ["WANDB_SILENT"] = "true"
    import wandb as library

    run = library.init(project="bench", mode="offline", dir=str(folder))
    return lambda values, step: run.log(values, step=step), run.finish


def tensorboard(folder: Path) -> tuple[Log, Callable[[], object]]:
    """Write an event a scalar, as torch's `add_scalar` does."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    return log, writer.close


def measure(name: str, calls: int) -> dict[str, float]:
    """Log in this process; return times of a call in us."""
    with tempfile.TemporaryDirectory() as folder:
        log, close = globals()[name](Path(folder))
        values = {f"train/metric_{i}": i / 7 for i in range(VALUES)}
        times = []
        for step in range(calls):
            values["train/metric_0"] = step / 3
            begun = time.perf_counter_ns()
            log(values, step)
            times.append(time.perf_counter_ns() - begun)
        close()
    times.sort()
    return {"p50": times[calls // 2] / 1e3, "p99": times[calls * 99 // 100] / 1e3, "max": times[-1] / 1e3}


def in_a_process(name: str, calls: int) -> dict[str, float]:
    """Measure one writer in a fresh process."""
    command = [sys.executable, __file__, "--one", name, "--calls", str(calls)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    """Measure in turn and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--calls", type=int, default=None)
    arguments.add_argument("--one", choices=WRITERS, default=None)
    options = arguments.parse_args()
    calls = options.calls or (1_000 if options.quick else 5_000)
    if options.one:
        print("\n" + json.dumps(measure(options.one, calls)))
        return
    rounds = options.rounds or (2 if options.quick else 5)
    writers = [name for name in WRITERS if name in ("thermograd", "write") or find_spec(name)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in writers}
    for turn in range(rounds):
        for name in writers if turn % 2 == 0 else reversed(writers):
            results[name].append(in_a_process(name, calls))
    print(f"{rounds} rounds of {calls:,} calls with {VALUES} values, {load()}\n\n{HEADER}")
    ours = [result["p50"] for result in results["thermograd"]]
    middle = statistics.median(ours)
    spread = f"{middle:.1f} us ({min(ours):.1f} to {max(ours):.1f})"
    print(
        row(
            "run.log, p50", f"<= {LIMIT_US:g} us", spread, "-", f"{middle / LIMIT_US:.2f}", middle <= LIMIT_US
        )
    )
    p99 = statistics.median(result["p99"] for result in results["thermograd"])
    print(row("run.log, p99", "-", f"{p99:.1f} us", "-", "-", None))
    for name in writers[1:]:
        theirs = [result["p50"] for result in results[name]]
        shown = f"{middle:.1f} us", f"{name} {statistics.median(theirs):.1f} us"
        print(row("run.log, p50", "-", *shown, paired(ours, theirs)[1], None))


if __name__ == "__main__":
    main()
