"""Write docs/zoo.md and its drawings: every process of known truth, with its sentence.

``python docs/zoo_page.py`` writes them, from fixed seeds; the tests say when a process is missing.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats, shifted
from thermograd.analysis.calibration.zoo import ZOO, Process
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.display.palette import DEVICE_COLOURS, GRID_COLOUR, TEXT_COLOUR

DOCS = Path(__file__).parent
PAGE = DOCS / "zoo.md"
IMAGES = DOCS / "images"
SEED, SHOWN_S = 1, 300
RUNS, BINS, LAGS = 100, 400, 13

GROUPS = {
    "memory": "Nothing is coupled; each series remembers.",
    "trends": "Nothing is coupled; both change their level, or one load drives both.",
    "bursts": "Nothing is coupled; both have spikes, bursts, or a variance that changes.",
    "rhythms": "Nothing is coupled; both repeat themselves: epochs, shards, fans, control loops.",
    "sensors": "Nothing is coupled; sensors and loggers average, hold or round.",
    "gaps": "Nothing is coupled; seconds are missing, or steps are irregular.",
    "step times": "Nothing is coupled but by the step time, which either side moves, or both.",
    "mixtures": "Nothing is coupled; two of the above at once.",
    "one lag": "Coupled: the hardware answers each second of the training at one lag.",
    "slow responses": "Coupled: the hardware answers slowly, as a heat sink does.",
    "other couplings": "Coupled, in ways that neither one lag nor one slow answer describes.",
    "coupled mixtures": "Coupled, under one of the disguises above.",
}


# -- page ------------------------------------------------------------------------------------------


def page() -> str:
    """Return the page, of the text that is there and the groups of the zoo."""
    head, rest = PAGE.read_text(encoding="utf-8").split("<!-- groups -->\n")[:2]
    tail = rest.split("<!-- end of groups -->\n")[-1]
    groups = "\n".join(line for group in GROUPS for line in _section(group))
    return f"{head}<!-- groups -->\n{groups}<!-- end of groups -->\n{tail}"


def members(group: str) -> list[Process]:
    """Return the processes of a group, in their order."""
    return [process for process in ZOO.values() if process.group == group]


def image_of(group: str) -> Path:
    """Return where the drawings of a group are."""
    return IMAGES / f"zoo-{group.replace(' ', '-')}.svg"


def _section(group: str) -> Iterator[str]:
    drawn = f"[![{group}: training above, hardware beneath](images/{image_of(group).name})]"
    yield f"## {group.capitalize()}\n\n{GROUPS[group]}\n\n{drawn}(images/{image_of(group).name})\n"
    coupled = not members(group)[0].is_null
    yield (
        "| process | what it is | truth |"
        if coupled
        else "| process | what it is, and why it fools | fooled |"
    )
    yield "|---|---|---|" if coupled else "|---|---|--:|"
    for process in members(group):
        yield f"| `{process.name}` | {process.about} | {_truth(process) if coupled else _fooled(process)} |"
    yield ""


def _truth(process: Process) -> str:
    parts = [] if process.rho is None else [f"r {process.rho:g}"]
    parts += [] if process.lag_s is None else [f"lag {process.lag_s} s"]
    return ", ".join(parts + ([] if process.memory_s is None else [f"memory {process.memory_s:g} s"]))


def _fooled(process: Process) -> str:
    hits = sum(_naive_p(process, run) <= 0.05 for run in range(RUNS))
    return f"{hits} %"


def _naive_p(process: Process, run: int) -> float:
    """Return Pearson's p at the best of the lags, corrected for their number."""
    x, y, *_ = process.make(np.random.default_rng([SEED, run]), BINS)
    peak = max(abs(naive_pearson(x, shifted(y, lag))) for lag in range(LAGS))
    df = int(np.isfinite(x + y).sum()) - 2
    t = peak * np.sqrt(df / max(1 - peak**2, 1e-12))
    return float(min(1.0, LAGS * 2 * scipy.special.stdtr(df, -t)))


# -- drawings --------------------------------------------------------------------------------------

# In half pixels, so that whole numbers are fine enough.
_PANEL, _GAP, _COLUMNS, _HALF = 600, 40, 3, 90
_HIGH = 2 * _HALF + 70


def drawing(group: str) -> str:
    """Return the drawings of a group as one SVG: every process, training above and hardware beneath."""
    processes = members(group)
    rows = -(-len(processes) // _COLUMNS)
    wide, high = _COLUMNS * (_PANEL + _GAP) + _GAP, rows * (_HIGH + _GAP) + _GAP
    panels = "\n".join(_placed(process, *divmod(i, _COLUMNS)) for i, process in enumerate(processes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide // 2}" '
        f'height="{high // 2}" font-family="sans-serif" font-size="26" fill="none" stroke-width="2.2" '
        f'stroke-linecap="round">\n'
        f'<rect width="{wide}" height="{high}" fill="#fff"/>\n{panels}\n</svg>\n'
    )


def _placed(process: Process, row: int, column: int) -> str:
    x, y = _GAP + column * (_PANEL + _GAP), _GAP + row * (_HIGH + _GAP)
    return f'<g transform="translate({x} {y})">{_panel(process)}</g>'


def _panel(process: Process) -> str:
    x, y = _shown(process)
    title = f'<text fill="{TEXT_COLOUR}" y="22">{escape(process.name)}</text>'
    frame = f'<path stroke="{GRID_COLOUR}" d="M0 {_HIGH}H{_PANEL}"/>'
    lines = (
        f'<path stroke="{colour}" {_stroke(process)} d="{_path(*series, top, process.record is not None)}"/>'
        for colour, series, top in zip(DEVICE_COLOURS, (x, y), (36, 50 + _HALF), strict=False)
    )
    return title + frame + "".join(lines)


def _stroke(process: Process) -> str:
    """Return how to draw what was recorded: as its points where their times are the matter."""
    return "" if process.record is None else 'stroke-width="6"'


def _shown(process: Process) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return times in s and values of both sides of one draw."""
    rng = np.random.default_rng([SEED, zlib.crc32(process.name.encode())])
    if process.record is not None:
        recorded = process.record(rng, SHOWN_S)
        at = recorded.step_time_ns / 1e9, recorded.sample_time_ns / 1e9
        (x_s, y_s), (x, y) = at, (recorded.x, recorded.y)
        return (x_s[x_s <= SHOWN_S], x[x_s <= SHOWN_S]), (y_s[y_s <= SHOWN_S], y[y_s <= SHOWN_S])
    pair = process.make(rng, SHOWN_S)
    return (np.arange(1.0, SHOWN_S + 1), pair.x), (np.arange(1.0, SHOWN_S + 1), pair.y)


def _path(time_s: Floats, values: Floats, top: int, as_points: bool) -> str:
    """Return a line as the data of an SVG path, in whole steps from point to point, broken where NaN."""
    low, high = np.nanquantile(values, (0.003, 0.997))
    place = np.round(time_s * _PANEL / SHOWN_S)
    level = np.round(top + _HALF * (1 - (values.clip(low, high) - low) / (high - low or 1.0)))
    drawn, last = [], None
    for x, y in zip(place, level, strict=True):
        if np.isnan(y):
            last = None
        else:
            drawn.append(f"M{x:.0f} {y:.0f}h0" if last is None else f"l{x - last[0]:.0f} {y - last[1]:.0f}")
            last = None if as_points else (x, y)
    return "".join(drawn)


if __name__ == "__main__":
    missing = {process.group for process in ZOO.values()} - set(GROUPS)
    if missing:
        raise SystemExit(f"say in GROUPS what these hold: {missing}")
    for each in GROUPS:
        image_of(each).write_text(drawing(each), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
