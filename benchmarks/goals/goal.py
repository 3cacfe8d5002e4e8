"""A goal of speed and what was measured of it; whole processes against a peer, in turns.

Each module beside this one measures the goals of one part, in at most the minutes that `benchmarks/bench.py`
gives it, and prints them as lines of JSON; the table and the history are made there.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CLI = (sys.executable, str(Path(__file__).parents[2] / "cli.py"))


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, measured.

    `key` is the same at every commit ("start.help"). `value` and `limit` are in `unit` ("x" is a ratio to
    the peer that `measured` names); `at_least`: more is better. `limit` None: a value only for reference.
    """

    key: str
    what: str
    value: float
    limit: float | None
    unit: str
    measured: str
    at_least: bool = False

    @property
    def passed(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took: seconds of the clock and of processors, its children too, and MiB at its peak."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def take(*command: str, env: dict[str, str] | None = None) -> Taken:
    """Run a command to its end, its output thrown away; raises where it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**_as_a_user_has_it(), **(env or {})}
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said.decode()[-500:]}")
    return Taken(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _as_a_user_has_it() -> dict[str, str]:
    """Return the environment without what would have each process compile every module anew."""
    return {name: of for name, of in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def in_turns(rounds: int, **commands: Sequence[str]) -> dict[str, list[Taken]]:
    """Run commands A B A B ..., once each unmeasured before, and return what each took in each round."""
    for command in commands.values():
        take(*command)
    taken: dict[str, list[Taken]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(take(*command))
    return taken


def times(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, str]:
    """Return the median of the ratios, each within a round, and a text: medians, range of ratios."""
    ratios = sorted(a / b for a, b in zip(ours, peer, strict=True))
    middle = statistics.median(ratios)
    shown = f"{_shown(statistics.median(ours))} against {_shown(statistics.median(peer))}"
    return middle, f"{shown} ({ratios[0]:.2f} to {ratios[-1]:.2f}x)"


def against(key: str, what: str, limit: float, ours: Sequence[Taken], peer: Sequence[Taken]) -> Goal:
    """Return the goal that our command takes at most `limit` times the peer's time."""
    ratio, shown = times([each.wall_s for each in ours], [each.wall_s for each in peer])
    cpu, _ = times([each.cpu_s for each in ours], [each.cpu_s for each in peer])
    return Goal(key, what, ratio, limit, "x", f"{shown}; processor time {cpu:.2f}x")


def main(measure: Callable[[bool], Iterable[Goal]]) -> None:
    """Print what `measure(quick)` gives as lines of JSON, as soon as each is there."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="small and few: does it run at all")
    for goal in measure(parser.parse_args().quick):
        print(json.dumps({**asdict(goal), "passed": goal.passed}), flush=True)


def own_peak_mib() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _shown(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.2f} us"
