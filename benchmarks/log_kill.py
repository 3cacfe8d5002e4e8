"""What a kill -9 at a random moment costs: acknowledged events lost, files that cannot be read.

Each kill is of a process of its own. It acknowledges an event, after `append` has returned, in a
shared mapping that survives it. Then the log is read, verified, sealed and read again.
"""

import mmap
import multiprocessing
import os
import random
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rows import HEADER, load, parser, row
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

COUNT = struct.Struct("<q")
PRELOAD = [
    "thermograd.store.log.writer",
    "thermograd.store.processes",
    "psutil",
]


class Outcome(NamedTuple):
    """What one kill did."""

    acknowledged: int
    lost: int
    wrong: int
    unreadable: int
    torn_bytes: int


def write_until_killed(run_dir: str, acknowledged: str, events_per_s: float) -> None:
    """Append steps for ever, at a rate or (0) as fast as it goes, and acknowledge each."""
    with open(acknowledged, "r+b") as file:
        counter = mmap.mmap(file.fileno(), COUNT.size)
    writer = EventWriter(Path(run_dir), Path(run_dir).name, "killed-r0")
    begun, done = time.perf_counter(), 0
    while True:
        due = done + 1 if not events_per_s else int((time.perf_counter() - begun) * events_per_s)
        while done < due:
            seq = writer.append("step", step=done + 1, loss=done / 7, grad_norm=1.0, learning_rate=1e-4)
            if seq != done:
                os._exit(3)
            done += 1
            COUNT.pack_into(counter, 0, done)
        if events_per_s:
            time.sleep(0.5 / events_per_s)


def kill_one(folder: Path, number: int, events_per_s: float, wait_s: float) -> Outcome:
    """Start a writer, kill it some time after its first event, and look at what is left."""
    run = create_run(folder, f"kill {number}")
    counter = folder / f"acknowledged-{number}"
    counter.write_bytes(COUNT.pack(0))
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=write_until_killed, args=(str(run.path), str(counter), events_per_s))
    process.start()
    while COUNT.unpack(counter.read_bytes())[0] == 0 and process.is_alive():
        time.sleep(0.001)
    time.sleep(wait_s)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the writer ended by itself with code {process.exitcode}")
    return look(run, COUNT.unpack(counter.read_bytes())[0])


def look(run: Run, acknowledged: int) -> Outcome:
    """Count what is missing, what has another value than was written, and which files cannot be read."""
    report = verify_run(run.path)
    damaged = [entry for entry in report["files"] if "reason" in entry]
    for entry in damaged:
        print(f"{run.run_id}: {entry}", file=sys.stderr)
    unreadable = sum(not entry.get("offset") for entry in damaged)
    lost, wrong = check(run, acknowledged)
    seal_run(run.path, run.run_id)
    lost_sealed, wrong_sealed = check(run, acknowledged)
    return Outcome(
        acknowledged, max(lost, lost_sealed), wrong + wrong_sealed, unreadable, report["torn_bytes"]
    )


def check(run: Run, acknowledged: int) -> tuple[int, int]:
    """Return how many acknowledged events are missing and how many events are not as written."""
    table = read_kind(run.path, "step")
    seqs = table.column("seq").to_pylist()
    expected = zip(seqs, table.column("step").to_pylist(), table.column("loss").to_pylist(), strict=True)
    wrong = sum(step != seq + 1 or loss != seq / 7 for seq, step, loss in expected)
    lost = len(set(range(acknowledged)) - set(seqs))
    return lost, wrong + len(seqs) - len(set(seqs))


def main() -> None:
    """Kill, count and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=None, help="at each of the two speeds")
    options = arguments.parse_args()
    kills = options.kills or (5 if options.quick else 100)
    multiprocessing.set_forkserver_preload(PRELOAD)
    rng = random.Random(options.seed)
    print(f"{load()}\n\n{HEADER}")
    for name, events_per_s in (("1,000 events/s", 1000.0), ("full speed", 0.0)):
        with tempfile.TemporaryDirectory() as folder:
            outcomes = [
                kill_one(Path(folder), number, events_per_s, rng.uniform(0.02, 1.2 if events_per_s else 0.4))
                for number in range(kills)
            ]
        total = Outcome(*map(sum, zip(*outcomes, strict=True)))
        measured = (
            f"{total.lost} lost, {total.wrong} wrong of {total.acknowledged:,} acknowledged; "
            f"{total.unreadable} unreadable files; {total.torn_bytes} torn bytes"
        )
        ok = total.lost == total.wrong == total.unreadable == 0
        goal = "0 acknowledged events lost, 0 unreadable files"
        print(row(f"kill -9, {kills} times, {name}", goal, measured, "-", "-", ok))


if __name__ == "__main__":
    main()
