"""What a figure shows, in words with the run's facts, for who does not see it: on a page, in every file."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.display.numbers import seconds_text, shown_number
from thermograd.analysis.report.data.curves import Band, Line, shown_value
from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.report.data.panel import KIND_NAMES, Mark, Panel, Panels, Strip
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.series import RunSeries
from thermograd.store.telling.quantities import counted, duration_text, few_of
from thermograd.store.text import printable

_LONGEST, _LONGEST_NAME = 3000, 120
_MOST_CURVES, _MOST_MARKS = 4, 3


class Words(NamedTuple):
    """What a figure is called, and what it shows."""

    title: str
    text: str


def simulated_words(data: RunSeries) -> str:
    """Return which devices of a run are simulated, as the beginning of what is said; empty for none."""
    labels = [device.label for device in data.devices.values() if device.simulated]
    return f"SIMULATED hardware: {few_of(labels)}. " if labels else ""


def words(title: str, *sentences: str, before: str = "") -> Words:
    """Return words without control characters, of a bounded length."""
    text = before + " ".join(sentence for sentence in sentences if sentence)
    return Words(printable(title, _LONGEST_NAME), printable(text, _LONGEST))


def timeline_words(panels: Panels, shown: Iterable[Panel], name: str, simulated: str) -> Words:
    """Return what panels of a run show: of each its range, and what happened; then who was throttled."""
    shown = tuple(shown)
    span = duration_text(panels.end_s - panels.start_s)
    names = ", ".join(panel.title for panel in shown)
    opening = f"Run {printable(name, _LONGEST_NAME)}, {span}, over time: {names}."
    told = [panel_sentence(panel, panels) for panel in shown]
    return words(
        f"{name}: training and hardware over time",
        opening,
        *told,
        panels.throttling.sentence(),
        before=simulated,
    )


def panel_words(panel: Panel, panels: Panels, name: str, simulated: str) -> Words:
    """Return what one panel shows by itself."""
    span = duration_text(panels.end_s - panels.start_s)
    opening = f"Run {printable(name, _LONGEST_NAME)}, {span}."
    return words(f"{name}: {panel.title}", opening, panel_sentence(panel, panels), before=simulated)


def throttling_words(panels: Panels, name: str, simulated: str) -> Words:
    """Return what the lanes of throttling show by themselves."""
    opening = f"Run {printable(name, _LONGEST_NAME)}, when each device was throttled, a row a device."
    return words(f"{name}: throttling", opening, panels.throttling.sentence(), before=simulated)


def panel_sentence(panel: Panel, panels: Panels) -> str:
    """Return the range of what a panel shows, and its marks."""
    if panel.reason:
        return f"{panel.title}: nothing is drawn; {panel.reason.rstrip('.')}."
    told = [_band(panel.band, panel)] if panel.band else []
    told += [_curve(line, panel, panels) for line in panel.lines[:_MOST_CURVES]]
    told += [f"{len(panel.lines) - _MOST_CURVES} more"] * (len(panel.lines) > _MOST_CURVES)
    scale = " (logarithmic scale)" * panel.log
    return f"{panel.title}{scale}: {'; '.join(told) or 'no curve'}.{_happened(panel)}"


def _band(band: Band, panel: Panel) -> str:
    low, high = (_with_unit(end, panel) for end in (band.lowest, band.highest))
    return f"{band.label}, from {low} to {high}"


def _curve(line: Line, panel: Panel, panels: Panels) -> str:
    who = f"{line.label} " if line.device is not None or line.dashed else ""
    known = line.values[np.isfinite(line.values)]
    if not known.size:
        return f"{who}has no finite value"
    if known.size == 1:
        return f"{who}one value, {_with_unit(float(known[0]), panel)}"
    ends = " to ".join(shown_value(float(f"{value:.4g}")) for value in (known[0], known[-1]))
    low, high = (shown_value(float(f"{value:.4g}")) for value in (known.min(), known.max()))
    unit = f" {panel.unit}" if panel.unit else ""
    return f"{who}from {ends}{unit}, lowest {low}, highest {high}"


def _with_unit(value: float, panel: Panel) -> str:
    return f"{shown_value(float(f'{value:.4g}'))} {panel.unit}".strip()


def _happened(panel: Panel) -> str:
    """Return what is marked in a panel, by kind with its count and, of few, its times."""
    told = [_strip(strip) for strip in panel.strips]
    crowded = {strip.kind for strip in panel.strips}
    for kind in KIND_NAMES:
        marks = [mark for mark in panel.marks if mark.kind == kind]
        if marks and kind not in crowded:
            told.append(f"{KIND_NAMES[kind]}: {_marks(marks)}")
    return f" Marked: {'; '.join(told)}." if told else ""


def _strip(strip: Strip) -> str:
    return f"{KIND_NAMES[strip.kind]}: {int(strip.count.sum()):,} times"


def _marks(marks: Sequence[Mark]) -> str:
    total = sum(mark.count for mark in marks)
    at = few_of([seconds_text(mark.time_s) for mark in marks], _MOST_MARKS)
    return f"{counted(total, 'time')}, at {at}"


# -- pairs of signals ------------------------------------------------------------------------------


def lag_words(label: str, pairs: Sequence[Pair], simulated: str) -> Words:
    """Return the largest residual correlation over lag, and what lies outside the bounds."""
    points = [(lag, r, pair.half_width) for pair in pairs for lag, r in pair.own]
    outside = sum(abs(r) > bound for _, r, bound in points)
    lag, r, bound = max(points, key=lambda point: abs(point[1]), default=(math.nan,) * 3)
    n = max((pair.n for pair in pairs), default=0)
    return words(
        f"{label}: residual correlation over lag",
        f"Residual correlation over lag of {label}, n = {n:,} bins.",
        f"Largest {_r(r)} at {shown_number(lag, '+.3g')} s (above 0 the training leads), 95 % bound "
        f"±{shown_number(bound, '.2f')}; {counted(outside, 'lag')} outside." * math.isfinite(r),
        _slow(pairs),
        before=simulated,
    )


def _slow(pairs: Sequence[Pair]) -> str:
    points = [
        (memory, r, pair.slow_half_width)
        for pair in pairs
        for memory, r in zip(pair.memories_s, pair.slow_profile, strict=True)
    ]
    if not points:
        return ""
    memory, r, bound = max(points, key=lambda point: abs(point[1]))
    return f"Slow answers: largest {_r(r)}, fading over {seconds_text(memory)}, 95 % bound ±{bound:.2f}."


def _r(r: float) -> str:
    return f"r = {shown_number(r, '+.2f')}"


def cross_words(found: Evidence, label: str, simulated: str) -> Words:
    """Return what the values of a pair of signals say against each other, raw and cleaned."""
    slow = "" if found.memory_s is None else f", fading over {seconds_text(found.memory_s)}"
    return words(
        f"{label}: values against each other",
        f"{label}. Left: {found.x.size:,} raw values of both, naive {_r(found.naive_r)}.",
        f"Right: {found.residual_x.size:,} residuals at lag {shown_number(found.lag_s, '+.3g')} s{slow}, "
        f"{_r(found.r)}.",
        "Colour is time.",
        before=simulated,
    )


def memory_words(found: Evidence, label: str, simulated: str) -> Words:
    """Return how long both signals of a pair remember, raw and cleaned."""
    told = [
        f"{memory.name}: raw {_after_one(memory.raw)}, residuals {_after_one(memory.residual)}"
        for memory in found.memory
    ]
    return words(
        f"{label}: autocorrelation",
        f"Autocorrelation of both signals of {label}, after one bin of {seconds_text(found.period_s)}:",
        f"{'; '.join(told)}.",
        before=simulated,
    )


def _after_one(course: Floats) -> str:
    return shown_number(float(course[1]) if course.size > 1 else math.nan, "+.2f")


def spikes_words(course: AroundSpikes, simulated: str) -> Words:
    """Return how a hardware signal changes after spikes of the gradient norm."""
    effect, low, high = (
        f"{shown_number(float(each), '+.3g')} {course.unit}".strip()
        for each in (course.effect, course.effect_low, course.effect_high)
    )
    spikes, quiet = counted(course.n_spikes, "spike"), counted(course.n_controls, "quiet window")
    return words(
        f"{course.label}: around gradient spikes",
        f"Mean course of {course.label} around {spikes} of the gradient norm, against {quiet}:",
        f"changes by {effect}, 95 % interval {low} to {high}.",
        before=simulated,
    )
