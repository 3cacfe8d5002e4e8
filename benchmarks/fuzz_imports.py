"""Damaged files through every importer: a refusal in one sentence, or a whole run whose rows balance.

Each file is a copy of a fixture of the tests (``tests/fixtures/imports``, ``tests/data``), or of a file in
a fixture that is a folder, with one to three of the damages of ``fuzz_mutations``. It is imported into a new
folder. Where the refusal asks for an option, it is imported again with that. What is not allowed: any other
exception, a refusal of several lines, a run that does not verify or whose rows do not balance, anything left
behind by a refusal, and more than some seconds of CPU. Files that failed are kept in the folder that
the last line names; the seed gives the same files again.
"""

import argparse
import faulthandler
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.benchmarks.fuzz_mutations import mutated
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.recording import Hints
from thermograd.store.errors import ThermogradError
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run

_TESTS = Path(__file__).parents[1] / "tests"
OPTIONS = {  # what a refusal may ask for, and what it then gets
    "--started-at": ("started_at", "2026-11-24T10:00:00Z"),
    "--step-time": ("step_time_s", 0.5),
    "--unit time=s": ("units", (("time", "s"),)),
    "--steps-per-epoch": ("steps_per_epoch", 1000),
    "--sample-time": ("sample_time_s", 1.0),
}
_MOST_TRIES = 4
_LONGEST_SENTENCE = 3000
_MOST_BYTES = 8 << 30


class Fixture(NamedTuple):
    """What is imported as one, a file or a folder, and the format that it is of: its folder's name."""

    format: str
    path: Path

    @property
    def files(self) -> list[Path]:
        """The files that are damaged, one at a time."""
        return sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else [self.path]


class Outcome(NamedTuple):
    """What came of a file: a refusal (or None), and what is wrong with that (or None)."""

    refusal: str | None
    fault: str | None


class TooLongError(BaseException):
    """An import takes more CPU time than it may; no handler of ordinary errors sees this."""


def fixtures() -> list[Fixture]:
    """Return all of the importers' fixtures."""
    found = [
        Fixture(folder.name, path)
        for folder in sorted((_TESTS / "fixtures" / "imports").iterdir())
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if path.name != "README.md"
    ]
    ours = [path for path in sorted((_TESTS / "data").iterdir()) if path.suffix in ("", ".csv")]
    return found + [Fixture("rle", path) for path in ours if path.name != "__pycache__"]


def damaged_copy(rng: random.Random, fixture: Fixture, others: list[bytes], folder: Path) -> tuple[Path, str]:
    """Write a copy of a fixture with one damaged file to a folder; return it, and how it was damaged."""
    target = folder / fixture.path.name
    if fixture.path.is_dir():
        shutil.copytree(fixture.path, target)
    victim = rng.choice(fixture.files)
    data, how = mutated(rng, victim.read_bytes(), rng.choice(others))
    copy = target / victim.relative_to(fixture.path) if fixture.path.is_dir() else target
    copy.write_bytes(data)
    return target, how


def attempt(path: Path, runs: Path) -> Outcome:
    """Import a file or folder, with the options that its refusals ask for."""
    given: dict[str, Any] = {}
    for _ in range(_MOST_TRIES):
        try:
            result = import_run(runs, [path], timezone="UTC", hints=Hints(**given))
        except ThermogradError as error:
            fault = _fault_of_refusal(str(error), runs)
            asked = {name: value for option, (name, value) in OPTIONS.items() if option in str(error)}
            if fault is not None or asked.keys() <= given.keys():
                return Outcome(str(error), fault)
            given |= asked
        except Exception as error:  # noqa: BLE001 - what is looked for
            return Outcome(None, f"{type(error).__name__}: {error}")
        else:
            return Outcome(None, _fault_of_run(result, runs))
    return Outcome("asks for option after option", "asks for option after option")


def _fault_of_refusal(sentence: str, runs: Path) -> str | None:
    if len(sentence.splitlines()) != 1 or not sentence.isprintable():
        return f"a refusal that is no line of text: {sentence!r}"
    if len(sentence) > _LONGEST_SENTENCE:
        return f"a refusal of {len(sentence)} characters"
    if "mistake of thermograd" in sentence:
        return sentence
    left = [path.name for path in runs.iterdir()] if runs.exists() else []
    return f"left behind: {left}" if left else None


def _fault_of_run(result: dict[str, Any], runs: Path) -> str | None:
    (run,) = runs.iterdir()
    account, rows = result["account"], result["rows"]
    if account["read"] != account["kept"] + account["merged"] + account["left_out"]:
        return f"rows do not balance: {account}"
    there = {kind: len(read_kind(run, kind)) for kind in rows}
    if there != rows or not sum(rows.values()):
        return f"{rows} rows were said to be imported, {there} are there"
    return None if verify_run(run)["ok"] else "the run does not verify"


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise TooLongError in the block after so much CPU time of this process."""

    def stop(*_: object) -> None:
        raise TooLongError(f"more than {seconds:g} s of CPU")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz(seed: str, fixture: Fixture, others: list[bytes], folder: Path) -> tuple[Outcome, str]:
    """Damage and import a fixture in a new folder, which is removed unless that went wrong."""
    place = folder / seed.replace(" ", "-").replace("/", "-")
    place.mkdir()
    path, how = damaged_copy(random.Random(seed), fixture, others, place)
    outcome = attempt(path, place / "runs")
    if outcome.fault is None:
        shutil.rmtree(place)
    return outcome, how


def _fuzz_format(name: str, of_format: list[Fixture], others: list[bytes], args: Any, folder: Path) -> int:
    """Fuzz a format's fixtures in turn; print a row of what came of them, and return the failures."""
    counts: Counter[str] = Counter()
    longest_s = 0.0
    for number in range(args.files):
        fixture = of_format[number % len(of_format)]
        seed = f"{args.seed} {name} {number}"
        began_s = time.process_time()
        try:
            with cpu_limit(args.cpu_limit):
                outcome, how = fuzz(seed, fixture, others, folder)
        except TooLongError as error:
            outcome, how = Outcome(None, str(error)), "kept"
        longest_s = max(longest_s, time.process_time() - began_s)
        counts["failed" if outcome.fault else "imported" if outcome.refusal is None else "refused"] += 1
        if outcome.fault:
            print(f"FAILED {seed!r} ({fixture.path.name}: {how}): {outcome.fault[:400]}", flush=True)
    told = " | ".join(str(counts[what]) for what in ("imported", "refused", "failed"))
    print(f"| {name} | {args.files} | {told} | {longest_s:.2f} s |", flush=True)
    return counts["failed"]


def main() -> int:
    """Fuzz every format, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="damaged files a format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a format: a folder of tests/fixtures/imports")
    parser.add_argument(
        "--cpu-limit", type=float, default=10.0, help="seconds of CPU that one import may take"
    )
    args = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    every = fixtures()
    others = [path.read_bytes() for fixture in every for path in fixture.files]
    names = [name for name in dict.fromkeys(f.format for f in every) if not args.only or name in args.only]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-imports-"))
    print(f"seed {args.seed}, files that fail are in {folder}")
    print("| format | files | imported | refused | failed | longest CPU |\n|---|--:|--:|--:|--:|--:|")
    failed = sum(
        _fuzz_format(name, [f for f in every if f.format == name], others, args, folder) for name in names
    )
    if not failed:
        shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
