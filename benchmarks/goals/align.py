"""Every step with the nearest sample of each of 8 devices, against polars: time, memory, every row."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from align import CODES, differing_rows, measure as join, prepare
from goals.goal import Goal, main, times
from rows import peers_python

JUDGED = (("one table", "one_table", 0.7), ("a table a device", "tables", 1.0))
MEMORY = 0.25  # of polars' extra memory where both get one table


def measure(quick: bool) -> Iterator[Goal]:
    """Join 1 M steps with 10 M samples, each way in a process of its own with one thread, in turns."""
    steps, samples = (100_000, 1_000_000) if quick else (1_000_000, 10_000_000)
    kinds = [kind for kind in CODES if kind[0] == "ours" or peers_python() is not None]
    taken: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, steps, samples, seed=0)
        for turn in range(1 if quick else 5):
            for kind in kinds if turn % 2 == 0 else reversed(kinds):
                taken[kind].append(join(folder, *kind, 3))
        wrong = differing_rows(folder)
    what = f"align {steps:,} steps x {samples:,} samples, 8 devices"
    ours, theirs = (
        {kind: count for kind, count in wrong.items() if kind.startswith(who)} for who in ("ours", "polars")
    )
    shown = ", ".join(f"{kind}: {count}" for kind, count in (ours | theirs).items())
    yield Goal("align.wrong_rows", f"{what}: rows not by the rule", sum(ours.values()), 0, "rows", shown)
    if peers_python() is None:
        return
    for how, key, limit in JUDGED:
        mine, peer = taken["ours", how], taken["polars", how]
        ratio, shown = times([each["s"] for each in mine], [each["s"] for each in peer])
        yield Goal(f"align.{key}", f"{what}: {how}, against polars", ratio, limit, "x", shown)
        extra = [[each["mb"] for each in side] for side in (mine, peer)]
        ratio, _ = times(*extra)
        shown = f"{min(extra[0]):.1f} MiB against {min(extra[1]):.1f}"
        most = MEMORY if how == "one table" else None
        yield Goal(f"align.{key}_memory", f"{what}: {how}, extra memory", ratio, most, "x", shown)


if __name__ == "__main__":
    main(measure)
