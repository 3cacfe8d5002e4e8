"""The axes of a printed panel: as many numbers as have room, none over another."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from thermograd.analysis.display.palette import TEXT_COLOUR
from thermograd.analysis.report.charts.paper.canvas import ROW_EMS
from thermograd.analysis.report.charts.paper.text import ems, wrapped
from thermograd.analysis.report.data.curves import Band, Line
from thermograd.analysis.report.data.panel import Panels

_TICK_STEPS = {"h": [1, 2, 3, 4, 6, 10]} | {unit: [1, 2, 5, 10] for unit in ("s", "min", "d")}
_MOST_ACROSS, _ACROSS_EMS = 8, 4.0
_MOST_UP, _UP_EMS = 5, 2.0
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BEYOND_EMS = 1.2  # of a panel's own height that its name may take of what is between panels
_TICK_EMS = 0.65  # a tick and what is between it and its number


def tick_text(value: float) -> str:
    """Return a number for an axis, short and in letters of one size.

    Examples
    --------
    >>> [tick_text(value) for value in (0.25, -3.0, 20_000.0, 1_500_000.0, 3e-7, 1e9)]
    ['0.25', '−3', '20k', '1.5M', '3×10⁻⁷', '10⁹']
    """
    size = abs(value)
    if 1e4 <= size < 1e9:
        unit, letter = (1e6, "M") if size >= 1e6 else (1e3, "k")
        return f"{value / unit:.6g}{letter}".replace("-", "−")
    if value and not 1e-4 <= size < 1e9:
        power = math.floor(math.log10(size) + 1e-9)
        factor = f"{value / 10.0**power:.4g}"
        return (
            "" if factor == "1" else f"{factor}×".replace("-", "−")
        ) + f"10{str(power).translate(_RAISED)}"
    return f"{value:.6g}".replace("-", "−")


def draw_value_axis(
    ax: Axes, title: str, height_ems: float, log_curves: Sequence[Line | Band] | None = None
) -> float:
    """Write a panel's name and numbers beside it; return how wide both are, in ems.

    The numbers of a logarithmic axis are chosen by its curves.
    """
    width = write_name(ax, title, height_ems)
    most = max(2, min(_MOST_UP, int(height_ems / _UP_EMS)))
    if log_curves is None:
        ax.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    else:
        ax.yaxis.set_major_locator(FixedLocator(decade_ticks(log_curves, most)))
    return width + write_ticks(ax)


def write_name(ax: Axes, title: str, height_ems: float) -> float:
    """Write a panel's name beside it; return how wide it is, in ems."""
    name = wrapped(title, height_ems + _BEYOND_EMS, 2)
    ax.set_ylabel("\n".join(name), color=TEXT_COLOUR, parse_math=False, va="top")
    return ROW_EMS * len(name)


def write_ticks(ax: Axes) -> float:
    """Write the numbers of a vertical axis; return how wide they are, with their ticks, in ems."""
    low, high = ax.get_ylim()
    reach = 1e-9 * (high - low)
    shown = [value for value in ax.get_yticks() if low - reach <= value <= high + reach]
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: tick_text(0.0 if abs(value) < reach else value))
    )
    return max((ems(tick_text(value)) for value in shown), default=0.0) + _TICK_EMS


def decade_ticks(curves: Sequence[Line | Band], most: int) -> list[float]:
    """Return at most so many numbers for a logarithmic axis: round ones, and at least two."""
    ends = [(curve.lowest, curve.highest) for curve in curves if curve.total and curve.lowest > 0]
    if not ends:
        return []
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        inside = [f * 10.0**p for p in powers for f in factors if low / 1.1 <= f * 10.0**p <= 1.1 * high]
        if 2 <= len(inside) <= most:
            return inside
    if len(inside) > most:
        return inside[:: -(-len(inside) // most)]
    linear = np.asarray(MaxNLocator(most - 1, steps=[1, 2, 5, 10]).tick_values(low, high))
    return [float(value) for value in linear if value > 0]


def draw_time_axis(ax: Axes, panels: Panels, width_ems: float, is_last: bool) -> None:
    """Draw the axis of time, whose numbers and name stand below the lowest panel."""
    ax.set_xlim(*(limit / panels.clock.seconds for limit in panels.limits_s))
    most = max(2, min(_MOST_ACROSS, int(width_ems / _ACROSS_EMS)))
    ax.xaxis.set_major_locator(MaxNLocator(most, steps=_TICK_STEPS[panels.clock.symbol]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    ax.tick_params(labelbottom=is_last)
    if is_last:
        long = f"{panels.clock.name} since the run's first event"
        ax.set_xlabel(
            long if ems(long) <= width_ems else f"time ({panels.clock.symbol})", color=TEXT_COLOUR, labelpad=1
        )
