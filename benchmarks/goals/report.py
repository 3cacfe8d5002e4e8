"""Answers about a short run: its analysis, its report with figures, its page alone; a page against Altair's.

The run is as long as the demo's and has as many signals: 600 steps in 90 s, two devices, spikes that were
injected. The page of 100,000 points in each of 4 panels is made from arrays in memory, as is Altair's: each a
file that needs nothing else, whose script bundle has been made before.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
import altair as alt
import numpy as np
import pyarrow as pa
from goals.goal import CLI, Goal, Taken, in_turns, main, times
from synthetic import make_run
from thermograd.analysis.display.markup import Html
from thermograd.analysis.report.charts.timeline import panels_chart
from thermograd.analysis.report.data.curves import make_line
from thermograd.analysis.report.data.panel import Panel, Panels
from thermograd.analysis.report.page.document import build_page

_NAMES = ("loss", "grad_norm", "rle", "temperature_c")
Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def measure(quick: bool) -> Iterator[Goal]:
    """Measure whole processes, then the two pages, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(
            Path(folder),
            steps=600,
            seconds=90.0,
            spikes=[24, 160, 330, 460],
            injections=[160, 330, 460],
            simulated=True,
        )
        ours = (*CLI, "--runs", folder)
        report = (*ours, "report", run.run_id, "-o", f"{folder}/report")
        taken = in_turns(
            1 if quick else 5,
            analyze=(*ours, "analyze", run.run_id),
            report=report,
            page=(*report, "--no-figures"),
        )
    yield _seconds("analysis.demo", "`analyze` of 90 s", 1.0, taken["analyze"])
    yield _seconds("report.figures", "`report` of 90 s, with figures", 2.5, taken["report"])
    yield _seconds("report.page", "`report --no-figures` of 90 s", 1.2, taken["page"])
    yield from _against_altair(5_000 if quick else 100_000, 1 if quick else 3)


def _seconds(key: str, what: str, limit: float, taken: Sequence[Taken]) -> Goal:
    walls = [each.wall_s for each in taken]
    cpu_s = statistics.median(each.cpu_s for each in taken)
    told = f"median of {len(walls)}, {min(walls):.2f} to {max(walls):.2f} s; processor time {cpu_s:.2f} s"
    return Goal(key, what, statistics.median(walls), limit, "s", told)


def _against_altair(points: int, rounds: int) -> Iterator[Goal]:
    alt.data_transformers.disable_max_rows()
    given = _curves(points)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.html", Path(folder) / "altair.html"
        _our_page(given, ours)
        _altair_page(given, theirs)
        pairs = [(_cpu_s(_our_page, given, ours), _cpu_s(_altair_page, given, theirs)) for _ in range(rounds)]
        sizes = ours.stat().st_size, theirs.stat().st_size
    of = f"page of {points:,} points x {len(_NAMES)} panels against Altair inline"
    ratio, told = times(*zip(*pairs, strict=True))
    yield Goal("report.altair_time", f"{of}, processor time", ratio, 0.1, "x", told)
    told = f"{sizes[0] / 1e6:.2f} against {sizes[1] / 1e6:.2f} MB"
    yield Goal("report.altair_bytes", f"{of}, bytes", sizes[0] / sizes[1], 0.1, "x", told)
    lines = {panel.key: panel.lines[0] for panel in _panels(given).panels}
    kept = float(sum(lines[name].highest == values.max() for name, (_, values) in given.items()))
    yield Goal(
        "report.extremes",
        "curves that keep their spike",
        kept,
        len(_NAMES),
        "of 4",
        "their highest points",
        True,
    )


def _curves(points: int) -> Curves:
    """Return four curves of so many points, each with a spike that must not be lost."""
    rng = np.random.default_rng(0)
    time_s, made = np.arange(points) * 0.4, {}
    for name in _NAMES:
        values = np.cumsum(rng.normal(size=points)) / 50
        values[int(rng.integers(points))] += 40
        made[name] = (time_s, values)
    return made


def _panels(given: Curves) -> Panels:
    made = []
    for name, (time_s, values) in given.items():
        device = "GPU-0" if name in ("rle", "temperature_c") else None
        made.append(Panel(name, (make_line(device or name, device, time_s, values, 800),)))
    return Panels(tuple(made), 0.0, float(given["loss"][0][-1]), {"GPU-0": "GPU-0"})


def _our_page(given: Curves, path: Path) -> None:
    charts = {"timeline": panels_chart(_panels(given))}
    page = build_page("page.html", "benchmark", charts, body=Html('<div id="chart-timeline"></div>'))
    path.write_text(page, encoding="utf-8")


def _altair_page(given: Curves, path: Path) -> None:
    charts = [
        alt.Chart(pa.table({"t": time_s, "v": values}), width=760, height=118)
        .mark_line()
        .encode(x="t:Q", y="v:Q")
        for time_s, values in given.values()
    ]
    alt.vconcat(*charts).save(str(path), inline=True)


def _cpu_s(work: Callable[[Curves, Path], None], given: Curves, path: Path) -> float:
    begun = time.process_time()
    work(given, path)
    return time.process_time() - begun


if __name__ == "__main__":
    main(measure)
