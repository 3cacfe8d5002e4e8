"""What a page tells of the analysis: how sure the verdict is, every test, and what the controls say."""

import math
from typing import Any

from thermograd.analysis.display.markup import element
from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.report.wording import device_name, reasons
from thermograd.analysis.run.pair import Pair, closest_first, pair_numbers
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.statements import reach_sentence, speed_sentence

_MOST_ROWS = 6
_TESTS = {
    **{"Training": "t", "Hardware": "t", "Device": "i", "Direction": "t", "n": "n", "r": "n"},
    **{
        "Lag or memory": "n",
        "p": "n",
        "p,\u00a0all tests": "n",
        "Bound": "n",
        "Naive r": "n",
        "Verdict": "t",
    },
}
_CONTROLS = {
    "grad_norm": "r with gradient norm",
    "time": "r with time alone",
    "learning_rate": "r with learning rate",
    "grad_norm_after_training": "r with the time after training",
}


def false_alarms(analysis: Analysis) -> dict[str, Any]:
    """Return how many tests of how many pairs of signals are corrected together, and what they could show."""
    asked = [pair for pair in analysis.pairs if not pair.is_speed and math.isfinite(pair.p)]
    return {
        "tests": len(asked),
        "signals": len({(pair.x, pair.y, pair.device) for pair in asked}),
        "farthest_s": max((abs(lag) for pair in asked for lag in pair.lags_s), default=0.0),
        "slowest_s": max((memory for pair in asked for memory in pair.memories_s), default=0.0),
        "bins": max((pair.n for pair in asked), default=0),
        "reach": reach_sentence(analysis),
        "detectable_r": analysis.smallest_detectable_r,
    }


def tested(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the tests of the question, and those of speed coupling apart from them, as tables."""
    devices = {pair.device for pair in analysis.pairs}
    where = f", device {device_name(analysis, devices.pop())}" if len(devices) == 1 else ""
    parts = []
    for title, speed in (
        (f"Optimisation coupling: the question{where}", False),
        (f"Speed coupling: expected, a control{where}", True),
    ):
        pairs = [pair for pair in analysis.pairs if pair.is_speed == speed]
        first = closest_first(pairs)[:_MOST_ROWS]
        every = _tests(analysis, pairs, f"{title}, all") if len(first) < len(pairs) else None
        told = {"title": title, "closest": _tests(analysis, first, title), "every": every}
        told["is_control"] = speed
        told["reasons"] = reasons(pairs, lambda pair: f"{pair.x} ~ {pair.y} ({pair.called}, {pair.family})")
        told["note"] = speed_sentence(analysis) if speed else ""
        parts += [told] * bool(pairs)
    return parts


def _tests(analysis: Analysis, pairs: list[Pair], label: str) -> Table:
    table = Table(_TESTS, [_test_row(analysis, pair) for pair in pairs], label, shown=None)
    only = len({pair.device for pair in analysis.pairs}) == 1
    return table.without("Device") if only else table  # it is named in the heading


def _test_row(analysis: Analysis, pair: Pair) -> tuple[Any, ...]:
    said = pair.verdict.replace("_", " ")
    if pair.verdict == "coupled":
        said = f"{said} ({pair.strength})"
    n, r, answer, *others = pair_numbers(pair)
    return (
        *(pair.x, pair.y, device_name(analysis, pair.device), pair.family),
        *(n, r, answer, shown_number(pair.p, ".2g"), *others),
        element("span", said, class_=f"v-{pair.verdict}"),
    )


def controls_table(analysis: Analysis) -> Table:
    """Return naive correlations of each hardware signal with what is coupled to nothing."""
    matched = analysis.alignment.get("matched_by_device", {})
    rows = [
        (
            *(analysis.called(device), name, f"{matched[device]:,}" if device in matched else DASH),
            *(shown_number(r[key], "+.2f") for key in _CONTROLS),
        )
        for device, signals in analysis.controls.items()
        for name, r in signals.items()
        if math.isfinite(r["grad_norm"])
    ]
    columns = {"Device": "i", "Hardware": "t", "n steps": "n"} | dict.fromkeys(_CONTROLS.values(), "n")
    return Table(columns, rows, "Controls, Pearson r of raw values")


def naive_example(analysis: Analysis) -> str:
    """Return where a control matches the naive correlation most plainly; empty for nowhere."""
    matched = [
        (abs(r["grad_norm"]), device, name, _CONTROLS[key].removeprefix("r "), r["grad_norm"], r[key])
        for device, signals in analysis.controls.items()
        for name, r in signals.items()
        for key in _CONTROLS
        if key != "grad_norm" and math.isfinite(r[key]) and abs(r[key]) >= abs(r["grad_norm"]) > 0.2
    ]
    if not matched:
        return ""
    _, device, name, control, naive, other = max(matched)
    return (
        f"Here: {name} of {analysis.called(device)} has r = {shown_number(naive, '+.2f')} with the gradient "
        f"norm, and r = {shown_number(other, '+.2f')} {control}, which cannot be coupled to it."
    )
