"""The report's page and figure at 100,000 points in each of 4 panels, against Altair's own inline save.

Both sides begin with arrays in memory and end with one HTML file that needs nothing else; both have
made their script bundle before. CPU time of the process, pairs in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import altair as alt
import numpy as np
import pyarrow as pa
from rows import HEADER, load, paired, parser, row
from thermograd.analysis.display.markup import Html
from thermograd.analysis.report.alt.run import Words
from thermograd.analysis.report.charts.paper.canvas import encode_figure
from thermograd.analysis.report.charts.print_figure import build_figure
from thermograd.analysis.report.charts.timeline import panels_chart
from thermograd.analysis.report.data.curves import make_line
from thermograd.analysis.report.data.panel import Panel, Panels
from thermograd.analysis.report.page.document import build_page

NAMES = ("loss", "grad_norm", "rle", "temperature_c")
Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def curves(points: int, seed: int) -> Curves:
    """Return four curves of so many points, each with a spike that must not be lost."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(points) * 0.4
    made = {}
    for name in NAMES:
        values = np.cumsum(rng.normal(size=points)) / 50
        values[int(rng.integers(points))] += 40
        made[name] = (time_s, values)
    return made


def our_panels(given: Curves) -> Panels:
    """Thin the curves to panels, as a report does."""
    made = []
    for name, (time_s, values) in given.items():
        device = "GPU-0" if name in ("rle", "temperature_c") else None
        made.append(Panel(name, (make_line(device or name, device, time_s, values, 800),)))
    return Panels(tuple(made), 0.0, float(given["loss"][0][-1]), {"GPU-0": "GPU-0"})


def our_page(given: Curves, path: Path) -> None:
    """Write our page."""
    charts = {"timeline": panels_chart(our_panels(given))}
    page = build_page("page.html", "benchmark", charts, body=Html('<div id="chart-timeline"></div>'))
    path.write_text(page, encoding="utf-8")


def altair_page(given: Curves, path: Path) -> None:
    """Write Altair's own page of the same panels."""
    charts = [
        alt.Chart(pa.table({"t": time_s, "v": values}), width=760, height=118)
        .mark_line()
        .encode(x="t:Q", y="v:Q")
        for time_s, values in given.values()
    ]
    alt.vconcat(*charts).save(str(path), inline=True)


def our_figure(given: Curves, path: Path) -> None:
    """Write the printed figure as PNG."""
    words = Words("benchmark", "Loss, gradient norm and hardware over time.")
    path.write_bytes(encode_figure(build_figure(our_panels(given), "benchmark", ""), path.suffix[1:], words))


def cpu_seconds(work: Callable[[Curves, Path], None], given: Curves, path: Path) -> float:
    """Return the CPU time of one call."""
    begun = time.process_time()
    work(given, path)
    return time.process_time() - begun


def spikes_kept(given: Curves) -> bool:
    """Whether every curve's highest point is still there."""
    lines = {panel.key: panel.lines[0] for panel in our_panels(given).panels}
    return all(lines[name].highest == values.max() for name, (_, values) in given.items())


def main() -> None:
    """Measure and print the rows."""
    options: argparse.Namespace = parser(__doc__).parse_args()
    points, rounds = (5_000, 1) if options.quick else (100_000, options.rounds or 5)
    alt.data_transformers.disable_max_rows()
    given = curves(points, options.seed)
    print(f"{points:,} points x {len(NAMES)} panels, {load()}\n\n{HEADER}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.html", Path(folder) / "altair.html"
        our_page(given, ours)
        altair_page(given, theirs)
        pairs = [
            (cpu_seconds(our_page, given, ours), cpu_seconds(altair_page, given, theirs))
            for _ in range(rounds)
        ]
        mine, other = zip(*pairs, strict=True)
        middle, text = paired(mine, other)
        shown = (
            f"{1e3 * sorted(mine)[rounds // 2]:.0f} ms",
            f"Altair inline {1e3 * sorted(other)[rounds // 2]:.0f} ms",
        )
        print(row("HTML page, CPU", "<= 0.1", *shown, text, middle <= 0.1))
        sizes = ours.stat().st_size, theirs.stat().st_size
        ratio = sizes[0] / sizes[1]
        told = f"{sizes[0] / 1e6:.2f} MB", f"Altair inline {sizes[1] / 1e6:.2f} MB"
        print(row("HTML page, bytes", "<= 0.1", *told, f"{ratio:.3f}", ratio <= 0.1))
        for kind in ("png", "pdf", "svg"):
            seconds = [cpu_seconds(our_figure, given, Path(folder) / f"figure.{kind}") for _ in range(rounds)]
            middle = sorted(seconds)[rounds // 2]
            print(
                row(f"figure as {kind.upper()}, CPU", "< 1 s", f"{1e3 * middle:.0f} ms", "", "", middle < 1)
            )
    print(
        row(
            "spikes kept in all curves",
            "all",
            "all" if spikes_kept(given) else "lost",
            "",
            "",
            spikes_kept(given),
        )
    )


if __name__ == "__main__":
    main()
