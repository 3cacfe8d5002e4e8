"""Commands that answer at once: `--help`, `runs`, `show latest`; `runs` over 1,000.

What commands keep of runs that have ended is in a cache of its own: the first, unmeasured round fills it, and
what they take without it is measured, too. Of the 1,000 runs five are live, which nothing is kept of.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import CLI, Goal, against, in_turns, main, take
from log_query import build_many

WITHOUT_CACHE = ("env", f"THERMOGRAD_CACHE={os.devnull}/none")


def measure(quick: bool) -> Iterator[Goal]:
    """Measure whole processes against a Python that imports one library, in turns."""
    rounds = 2 if quick else 9
    with tempfile.TemporaryDirectory() as cache:
        os.environ["THERMOGRAD_CACHE"] = cache
        yield from _few(rounds)
        yield from _many(50 if quick else 1000, rounds)


def _few(rounds: int) -> Iterator[Goal]:
    with tempfile.TemporaryDirectory() as folder:
        for seed in ("1", "2", "3"):
            take(*CLI, "--runs", folder, "simulate", "--minutes", "1", "--seed", seed)
        time.sleep(3)  # of a file that changed within two seconds nothing is kept
        ours = (*CLI, "--runs", folder)
        python = sys.executable
        taken = in_turns(
            rounds,
            empty=(python, "-c", "pass"),
            pyarrow=(python, "-c", "import pyarrow"),
            help=(*CLI, "--help"),
            runs=(*ours, "runs"),
            show=(*ours, "show", "latest"),
            runs_first=(*WITHOUT_CACHE, *ours, "runs"),
            show_first=(*WITHOUT_CACHE, *ours, "show", "latest"),
        )
    yield against("start.help", "`--help` against `python -c pass`", 2.5, taken["help"], taken["empty"])
    yield against(
        "start.runs", "`runs` of three against `import pyarrow`", 2.0, taken["runs"], taken["pyarrow"]
    )
    yield against(
        "start.show", "`show latest` against `import pyarrow`", 2.0, taken["show"], taken["pyarrow"]
    )
    for command in ("runs", "show"):
        ours_s, peer = taken[f"{command}_first"], taken["pyarrow"]
        yield against(f"start.{command}_first", f"`{command}`, nothing kept", 2.0, ours_s, peer)


def _many(runs: int, rounds: int) -> Iterator[Goal]:
    with tempfile.TemporaryDirectory() as folder:
        logs = build_many(Path(folder), runs, 1000, 0)
        time.sleep(3)
        ours = (*CLI, "--runs", folder, "runs")
        taken = in_turns(
            rounds, newest=ours, every=(*ours, "--limit", "0"), latest=(*ours[:-1], "show", "run-00001")
        )
        for log in logs:
            log.close()
    what = f"of {runs:,} runs of 1,000 steps, 5 live"
    for name, told, limit in (
        ("newest", "`runs`: the newest 200", 0.5),
        ("every", "`runs --limit 0`: every one", 0.8),
        ("latest", "`show` of one", 0.5),
    ):
        wall_s, cpu_s = ([getattr(each, of) for each in taken[name]] for of in ("wall_s", "cpu_s"))
        measured = (
            f"{min(wall_s):.2f} to {max(wall_s):.2f} s; processor time {statistics.median(cpu_s):.2f} s"
        )
        yield Goal(f"start.many_{name}", f"{told} {what}", statistics.median(wall_s), limit, "s", measured)


if __name__ == "__main__":
    main(measure)
