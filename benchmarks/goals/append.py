"""One append of a step event against one bare `os.write` of 64 bytes; the worst call of each process.

The log's own thread writes full batches to Arrow meanwhile, as in a long run. Calls in which the kernel gave
the core to another process say nothing about the log; they are told apart (`peer_writers.interruptions`).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import Goal, main, times
from log_append import measure as measured


def measure(quick: bool) -> Iterator[Goal]:
    """Measure each writer in processes of its own, in turns."""
    rounds, events = (2, 3_000) if quick else (5, 20_000)
    ours, bare = [], []
    for seed in range(rounds):
        ours.append(measured("thermograd", events, seed))
        bare.append(measured("write64", events, seed))
    ratio, shown = times([each["p50"] / 1e6 for each in ours], [each["p50"] / 1e6 for each in bare])
    yield Goal("append.p50", "one append against `os.write` of 64 bytes", ratio, 3.0, "x", shown)
    worst = [each["undisturbed_max"] / 1e3 for each in ours]
    every = ", ".join(f"{each['max'] / 1e3:.2f}" for each in ours)
    peers = ", ".join(f"{each['max'] / 1e3:.2f}" for each in bare)
    yield Goal(
        "append.worst",
        f"worst of {events:,} appends in each of {rounds} processes",
        max(worst),
        1.0,
        "ms",
        f"{', '.join(f'{each:.2f}' for each in worst)} ms; with those in which the core was taken away "
        f"{every}, of `os.write` {peers} ms",
    )


if __name__ == "__main__":
    main(measure)
