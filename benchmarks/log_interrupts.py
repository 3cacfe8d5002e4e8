"""What interrupts cost the log: signal handlers that raise or log, beside threads and files that change fast.

Each trial is one writer whose own thread works a thousand times a second, with batches of 2 to 64 events,
up to three threads that log, and a timer whose handler logs, raises, or both. Then the log is read, verified,
sealed and read again: each acknowledged event must be there once.
"""

import itertools
import logging
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from rows import HEADER, load, parser, row
from thermograd.store.log import writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.writer import EventWriter


class StopError(Exception):
    """What a user's alarm raises."""


class Outcome(NamedTuple):
    """What one trial did: events, interrupts, and what went wrong."""

    acknowledged: int
    raised: int
    caught: int
    lost: int
    twice: int
    unreadable: int


class Trial:
    """One writer that is interrupted until it has taken some thousand events."""

    def __init__(self, run_dir: Path, chance: random.Random) -> None:
        self.run_dir, self.chance = run_dir, chance
        self.logs, self.raises = chance.choice([(True, False), (False, True), (True, True)])
        self.writer = EventWriter(run_dir, "r", "w", batch_rows=chance.choice([2, 4, 16, 64]))
        self.numbers, self.acknowledged = itertools.count(), []
        self.raised = self.caught = self.depth = 0

    def put(self) -> None:
        """Append one event; note it where it was acknowledged."""
        number = next(self.numbers)
        if self.writer.append("step", step=number, loss=1.0) is not None:
            self.acknowledged.append(number)

    def handle(self, _: int, frame: FrameType | None) -> None:
        """Do what a signal handler may do: log, and raise, the latter only into an append."""
        if self.depth > 3:
            return
        self.depth += 1
        try:
            for _ in range(self.chance.randint(1, 6) if self.logs else 0):
                self.put()
        finally:
            self.depth -= 1
        while frame is not None and frame.f_code is not Trial.put.__code__:
            frame = frame.f_back
        if self.raises and frame is not None and self.depth == 0 and self.chance.random() < 0.5:
            self.raised += 1
            raise StopError

    def run(self) -> Outcome:
        """Log, interrupted, and look at what came of it."""
        sys.setswitchinterval(self.chance.choice([1e-6, 1e-5, 1e-3]))
        threads = [
            threading.Thread(target=lambda: [self.put() for _ in range(400)])
            for _ in range(self.chance.choice([0, 1, 3]))
        ]
        signal.signal(signal.SIGALRM, self.handle)
        for thread in threads:
            thread.start()
        signal.setitimer(signal.ITIMER_REAL, *(self.chance.uniform(5e-5, 1e-3) for _ in range(2)))
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            try:
                self.put()
            except StopError:
                self.caught += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        for thread in threads:
            thread.join()
        self.writer.close()
        return self.outcome()

    def outcome(self) -> Outcome:
        """Compare what was acknowledged with what is read, live and sealed."""
        live = read_kind(self.run_dir, "step")["step"].to_pylist()
        bad = not verify_run(self.run_dir)["ok"] or bool(seal_run(self.run_dir, "r").damage)
        table = read_kind(self.run_dir, "step")
        sealed = table["step"].to_pylist()
        bad = bad or not verify_run(self.run_dir)["ok"] or live != sealed
        bad = bad or table["seq"].to_pylist() != list(range(len(table)))
        lost = len(set(self.acknowledged) - set(sealed))
        twice = len(sealed) - len(set(sealed))
        return Outcome(len(self.acknowledged), self.raised, self.caught, lost, twice, int(bad))


def main() -> None:
    """Run the trials and print one row."""
    arguments = parser(__doc__).parse_args()
    log_module._SYNC_PERIOD_S = 0.001
    logging.getLogger("thermograd").setLevel(logging.ERROR)
    trials = arguments.rounds or (3 if arguments.quick else 200)
    outcomes = []
    for trial in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            run_dir.mkdir()
            outcomes.append(Trial(run_dir, random.Random(1000 * arguments.seed + trial)).run())
    total = Outcome(*map(sum, zip(*outcomes, strict=True)))
    print(HEADER)
    said = f"{total.lost} lost, {total.twice} twice, {total.unreadable} logs not whole"
    given = f"{total.acknowledged} events, {total.raised} exceptions ({total.caught} caught) in {trials} logs"
    held = total.lost == total.twice == total.unreadable == 0
    print(row(f"interrupts: {given}", "0, 0, 0", said, "", "", held))
    print(load())


if __name__ == "__main__":
    main()
