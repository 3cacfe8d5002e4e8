"""One writer, one process: append step events, each of a step and 6 scalars, and time every call.

Runs in thermograd's environment (thermograd, sqlite, write64) and in the peers' one (all others),
so it imports nothing but what the writer needs. Prints one JSON object. The values are drawn before
the clock starts: loss and grad_norm are float32 widened, as `tensor.item()` gives them.
"""

import json
import math
import os
import random
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

Values = tuple[float, float, float, float, float, float]
Log = Callable[[int, Values], object]
Writer = tuple[Log, Callable[[], object]]
NAMES = ("epoch", "loss", "grad_norm", "max_grad_norm", "learning_rate", "step_time_s")


def values(count: int, seed: int) -> list[Values]:
    """Draw the 6 scalars of each step: a falling loss, heavy-tailed norms, a cosine schedule."""
    rng = random.Random(seed)

    def single(value: float) -> float:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])

    return [
        (
            i / 1000,
            single(2.0 + 3.0 / (1 + i / 500) + rng.gauss(0, 0.1)),
            single(rng.lognormvariate(0, 0.3)),
            1.0,
            1e-4 * (1 + math.cos(i / count * math.pi)),
            rng.randrange(90_000_000, 110_000_000) / 1e9,
        )
        for i in range(count)
    ]


def thermograd(folder: Path) -> Writer:
    """Append to thermograd's log: in the page cache when the call returns."""
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.runs.catalogue import create_run

    run = create_run(folder, "bench", run_id="bench")
    writer = EventWriter(run.path, run.run_id, "bench-r0")
    append = writer.append

    def log(i: int, v: Values) -> None:
        epoch, loss, grad_norm, max_grad_norm, learning_rate, step_time_s = v
        append(
            "step",
            step=i,
            epoch=epoch,
            loss=loss,
            grad_norm=grad_norm,
            max_grad_norm=max_grad_norm,
            learning_rate=learning_rate,
            step_time_s=step_time_s,
        )

    return log, writer.close


def write64(folder: Path) -> Writer:
    """Write 64 ready bytes: what the kernel alone costs."""
    handle = os.open(folder / "bytes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    data = b"x" * 64
    write = os.write
    return (lambda i, v: write(handle, data)), (lambda: os.close(handle))


def sqlite(folder: Path) -> Writer:
    """Commit each event to SQLite, WAL, synchronous=NORMAL: in the page cache when the call returns."""
    import sqlite3

    database = sqlite3.connect(folder / "steps.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    fields = ", ".join(f"{name} REAL" for name in NAMES)
    database.execute(f"CREATE TABLE steps (seq INTEGER PRIMARY KEY, time_ns INT, monotonic_ns INT, {fields})")
    statement = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    execute = database.execute

    def log(i: int, v: Values) -> None:
        execute(statement, (i, time.time_ns(), time.monotonic_ns(), *v))

    return log, database.close


def wandb(folder: Path) -> Writer:
    """Log to wandb offline: its service process has the record, a kill may lose it."""
    import wandb as library

    os.environ |= {"WANDB_SILENT": "true"}
    run = library.init(project="bench", mode="offline", dir=str(folder))

    def log(i: int, v: Values) -> None:
        run.log(
            {
                "epoch": v[0],
                "loss": v[1],
                "grad_norm": v[2],
                "max_grad_norm": v[3],
                "learning_rate": v[4],
                "step_time_s": v[5],
            },
            step=i,
        )

    return log, run.finish


def tensorboard(folder: Path) -> Writer:
    """Write one event a scalar, as torch's add_scalar does; its thread writes them out later."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def log(i: int, v: Values) -> None:
        for name, value in zip(NAMES, v, strict=True):
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=i, summary=summary))

    return log, writer.close


def trackio(folder: Path) -> Writer:
    """Log to trackio: queued, its thread writes to SQLite later."""
    os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    import trackio as library

    library.init(project="bench")

    def log(i: int, v: Values) -> None:
        library.log(
            {
                "epoch": v[0],
                "loss": v[1],
                "grad_norm": v[2],
                "max_grad_norm": v[3],
                "learning_rate": v[4],
                "step_time_s": v[5],
            },
            step=i,
        )

    return log, library.finish


def mlflow(folder: Path) -> Writer:
    """Log to mlflow's SQLite store, each call waiting for its commit."""
    import mlflow as library

    library.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    library.set_experiment("bench")
    library.start_run()

    def log(i: int, v: Values) -> None:
        library.log_metrics(dict(zip(NAMES, v, strict=True)), step=i)

    return log, library.end_run


WRITERS = (thermograd, write64, sqlite, wandb, tensorboard, trackio, mlflow)


def interruptions() -> int:
    """Return how often the kernel has given this thread's core to somebody else; 0 where it does not tell."""
    if not hasattr(resource, "RUSAGE_THREAD"):
        return 0
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def measure(name: str, count: int, folder: Path, seed: int) -> dict[str, float]:
    """Open, append `count` events, close; return times in us and the bytes on disk of each event."""
    rows = values(count, seed)
    log, close = next(writer for writer in WRITERS if writer.__name__ == name)(folder)
    clock = time.perf_counter_ns
    times, taken_away, undisturbed = [0] * count, interruptions(), 0
    for i, v in enumerate(rows):
        begun = clock()
        log(i + 1, v)
        times[i] = clock() - begun
        if times[i] > undisturbed or not i % 64:
            before, taken_away = taken_away, interruptions()
            if before == taken_away:
                undisturbed = max(undisturbed, times[i])
    begun = clock()
    close()
    close_s = (clock() - begun) / 1e9
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    first = times[0] / 1e3
    times.sort()
    return {
        "p50": times[count // 2] / 1e3,
        "p99": times[count * 99 // 100] / 1e3,
        "max": times[-1] / 1e3,
        "undisturbed_max": undisturbed / 1e3,
        "over_1ms": sum(t > 1_000_000 for t in times),
        "first": first,
        "mean": sum(times) / count / 1e3,
        "close_s": close_s,
        "bytes": size / count,
    }


if __name__ == "__main__":
    result = measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    print("\n" + json.dumps(result))
