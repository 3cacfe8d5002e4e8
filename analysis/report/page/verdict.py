"""Parts of the report about the analysis: verdict, tests, controls, method, how to do it again."""

import math
from typing import Any

from thermograd.analysis.display.markup import Html, details, element, items, table, typeset
from thermograd.analysis.display.numbers import DASH, bound_text, shown_number
from thermograd.analysis.report.data.hardware import device_label
from thermograd.analysis.run.result import (
    Analysis,
    Pair,
    closest_first,
    pair_sentence,
    question_verdict,
    verdict_sentence,
)
from thermograd.analysis.run.series import RunSeries
from thermograd.analysis.run.wording import control_lines, further_lines, reach_sentence, speed_sentence

_MOST_ROWS = 12
_COLUMNS = (
    ("Training", "t"),
    ("Hardware", "t"),
    ("Device", "i"),
    ("Direction", "t"),
    ("n", "n"),
    ("r", "n"),
    ("Lag,\u00a0s", "n"),
    ("p", "n"),
    ("p,\u00a0all tests", "n"),
    ("Bound", "n"),
    ("Naive r", "n"),
    ("Verdict", "t"),
)


def header(data: RunSeries, analysis: Analysis) -> Html:
    """Return the run's name and the verdict: what, how sure, and what it does not say."""
    badges = [element("span", data.run.state(), class_="badge")]
    simulated = [device_label(device) for device in data.devices.values() if device.simulated]
    if simulated:
        badges.append(
            element("span", f"SIMULATED hardware: {', '.join(simulated)}", class_="badge simulated")
        )
    lead, colon, rest = typeset(verdict_sentence(analysis)).partition(": ")
    sentence = element("p", element("strong", lead, colon) if colon else lead, rest, class_="sentence")
    columns = element(
        "div",
        element("div", element("h3", "How sure"), *[element("p", text) for text in _how_sure(analysis)]),
        element("div", element("h3", "What it does not say"), items(_not_said(analysis, bool(simulated)))),
        class_="columns",
    )
    return Html(
        element("p", "thermograd run report", class_="eyebrow")
        + element("h1", data.run.name)
        + element("p", *badges)
        + element("section", sentence, columns, class_=f"verdict {question_verdict(analysis)}")
    )


def _how_sure(analysis: Analysis) -> list[str]:
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    tested = [pair for pair in asked if math.isfinite(pair.p)]
    if not tested:
        return ["Nothing could be tested in this run, so there is nothing to be sure of."]
    signals = len({(pair.x, pair.y, pair.device) for pair in tested})
    farthest = max((abs(lag) for pair in tested for lag in pair.lags_s), default=0.0)
    texts = [
        f"{len(tested)} tests: {signals} pairs of signals, each forward, simultaneous and reverse, at lags "
        f"up to {farthest:.0f} s. All are corrected together (Holm), so the chance that even one of them "
        "raises a false alarm is at most 5 %."
    ]
    reach = reach_sentence(analysis)
    if reach:
        texts.append(reach)
    elif analysis.smallest_detectable_r is not None:
        texts.append(
            f"With {max(pair.n for pair in tested):,} bins a coupling of |r| = "
            f"{analysis.smallest_detectable_r:.2f} would show nine times out of ten; weaker ones can hide."
        )
    return texts


def _not_said(analysis: Analysis, simulated: bool) -> list[str]:
    texts = ["Which side causes what: association in one run cannot tell, only an intervention can."]
    if question_verdict(analysis) in ("insufficient", "inconclusive"):
        texts.append("That there is no coupling: not found is not the same as not there.")
    texts.append("Anything about speed: throttling makes steps slower, which is expected and listed apart.")
    texts.append("Anything about other runs, signals that were not recorded, or longer lags.")
    if simulated:
        texts.append("Anything about real hardware, where the device is simulated.")
    return texts


# -- statistics ------------------------------------------------------------------------------------


def pairs_section(analysis: Analysis) -> Html:
    """Return the tests of the question, and those of speed coupling apart from them."""
    parts = [element("h2", "What was tested", id="tests")]
    if not analysis.pairs:
        text = "No pair: the run does not hold both a training signal and a hardware signal."
        return Html(parts[0] + element("p", text, class_="empty"))
    parts.append(
        element(
            "p",
            "n: bins with both signals. r: residual correlation at its peak lag; a lag above 0 means the "
            "training leads. Bound: what an uncoupled pair stays below, at every lag, 95 times in 100; r and "
            "the bound on either side of it is the simultaneous 95 % interval, which the verdict uses. "
            "Naive r: Pearson on raw values, no evidence.",
            class_="note",
        )
    )
    devices = {_device_name(analysis, pair.device) for pair in analysis.pairs}
    where = f", device {devices.pop()}" if len(devices) == 1 else ""
    for title, speed in (
        (f"Optimisation coupling: the question{where}", False),
        (f"Speed coupling: expected, a control{where}", True),
    ):
        chosen = [pair for pair in analysis.pairs if pair.is_speed == speed]
        if chosen:
            parts += [element("h3", title), _pairs_table(analysis, chosen, title), _reasons(chosen)]
            if speed and (text := speed_sentence(analysis)):
                parts.append(element("p", text, class_="note"))
    further = further_lines(analysis)
    if further:
        parts += [element("h3", "Of what is coupled"), items(further, class_="plain")]
    return Html("".join(parts))


def _pairs_table(analysis: Analysis, pairs: list[Pair], label: str) -> Html:
    first = closest_first(pairs)[:_MOST_ROWS]
    shown = _tests_table(analysis, first, label)
    if len(first) == len(pairs):
        return shown
    note = "For each pair of signals the most telling of its three directions, the closest pair first."
    every = details(
        f"All {len(pairs)} tests, every direction", _tests_table(analysis, pairs, f"{label}, all")
    )
    return Html(shown + element("p", note, class_="note") + every)


def _tests_table(analysis: Analysis, pairs: list[Pair], label: str) -> Html:
    columns = [*_COLUMNS]
    rows = [_test_row(analysis, pair) for pair in pairs]
    if len({pair.device for pair in analysis.pairs}) == 1:  # it is named in the heading
        columns.pop(2)
        rows = [row[:2] + row[3:] for row in rows]
    names, kinds = zip(*columns, strict=True)
    return table(names, rows, "".join(kinds), label, stack=True)


def _device_name(analysis: Analysis, device: str) -> str:
    simulated = device in analysis.simulated and "simulated" not in device
    return f"{device} (simulated)" if simulated else device


def _test_row(analysis: Analysis, pair: Pair) -> tuple[Any, ...]:
    said = pair.verdict.replace("_", " ")
    if pair.verdict == "coupled":
        said = f"{said} ({pair.strength})"
    return (
        pair.x,
        pair.y,
        _device_name(analysis, pair.device),
        pair.family,
        f"{pair.n:,}",
        shown_number(pair.r, "+.2f"),
        shown_number(pair.lag_s, "+.1f"),
        shown_number(pair.p, ".2g"),
        shown_number(pair.p_adjusted, ".2g"),
        bound_text(pair.half_width),
        shown_number(pair.pearson_r, "+.2f"),
        element("span", said, class_=f"v-{pair.verdict}"),
    )


def _reasons(pairs: list[Pair]) -> Html:
    shared: dict[str, list[str]] = {}
    for pair in pairs:
        shared.setdefault(pair_sentence(pair), []).append(
            f"{pair.x} ~ {pair.y} ({pair.device}, {pair.family})"
        )
    lines = [
        f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {reason}"
        for reason, names in shared.items()
    ]
    return details("Why each has its verdict", items(lines, class_="plain note"))


def naive_section(analysis: Analysis) -> Html:
    """Return why the plain correlation of the raw values would mislead, with this run's own numbers."""
    rows = [
        (device, name, _matched(analysis, device), *[shown_number(r[key], "+.2f") for key in _CONTROLS])
        for device, signals in analysis.controls.items()
        for name, r in signals.items()
        if math.isfinite(r["grad_norm"])
    ]
    if not rows:
        return Html("")
    body = [
        element("h3", "Why the naive number misleads"),
        element(
            "p",
            "Gradient norms and losses drift while a model learns, and devices warm up while they work. "
            "Two things that both drift correlate, whether or not they know of each other. So compare: "
            "if the hardware correlates as well with what cannot be coupled to it, the first number "
            "shows a trend. The last column takes the same gradient norms and the hardware of the time "
            "right after the training, where it was recorded.",
        ),
        table(
            ("Device", "Hardware", "n steps", *_CONTROLS.values()),
            rows,
            "itnnnnn",
            "Controls, Pearson r of raw values",
            stack=True,
        ),
    ]
    text = _naive_example(analysis)
    if text:
        body.append(element("p", text))
    note = (
        "All are Pearson's r of raw values, without claim or interval: the usual interval counts "
        "neighbouring steps as independent, which they are not."
    )
    body.append(element("p", note, class_="note"))
    body.append(
        details(
            "All controls, also with other runs' hardware",
            items(control_lines(analysis), class_="plain note"),
        )
    )
    return element("section", *body, class_="box")


_CONTROLS = {
    "grad_norm": "r with gradient norm",
    "time": "r with time alone",
    "learning_rate": "r with learning rate",
    "grad_norm_after_training": "r with the time after training",
}


def _matched(analysis: Analysis, device: str) -> str:
    count = analysis.alignment.get("matched_by_device", {}).get(device)
    return DASH if count is None else f"{count:,}"


def _naive_example(analysis: Analysis) -> str:
    """Name the hardware signal whose naive correlation a control matches most plainly."""
    matched = [
        (abs(r["grad_norm"]), device, name, _CONTROLS[key].removeprefix("r "), r["grad_norm"], r[key])
        for device, signals in analysis.controls.items()
        for name, r in signals.items()
        for key in ("time", "learning_rate", "grad_norm_after_training")
        if math.isfinite(r["grad_norm"])
        and math.isfinite(r[key])
        and abs(r[key]) >= abs(r["grad_norm"]) > 0.2
    ]
    if not matched:
        return ""
    _, device, name, control, naive, other = max(matched)
    return (
        f"Here: {name} of {device} has r = {shown_number(naive, '+.2f')} with the gradient norm, and r = "
        f"{shown_number(other, '+.2f')} {control}, which cannot be coupled to it."
    )


# -- how, and again --------------------------------------------------------------------------------

_METHOD = (
    "Both signals are put on the slower of their two clocks, at least 1 s a bin, so that no value is "
    "counted twice and none comes from the future. The gradient norm enters as its logarithm.",
    "From each, the slow trend, known drivers (learning rate, step time, tokens, load) and the signal's own "
    "past are regressed out. What is left is compared at every lag.",
    "The peak over all lags is tested as a peak, by Šidák's bound and, where that is close, by permutation "
    "and by sign flips; the largest p counts. Holm's method corrects for all pairs together.",
    "A pair that loses its significance with its most influential second is a single event, no coupling. No "
    "coupling is claimed only where the whole profile with its bound stays below |r| = 0.2.",
)
_REFERENCES = (
    "Haugh (1976), J. Am. Stat. Assoc. 71:378–385: cross-correlation of innovations.",
    "Freedman & Lane (1983), J. Bus. Econ. Stat. 1:292–298: permuting residuals.",
    "Winkler et al. (2014), NeuroImage 92:381–397: permutation and sign flips.",
    "Friston et al. (2000), NeuroImage 12:196: cosine high-pass as regressors.",
    "Holm (1979), Scand. J. Stat. 6:65–70: correction for several tests.",
)


def method_section() -> Html:
    """Return the method in words, with its sources."""
    texts = [element("p", text) for text in _METHOD]
    return Html(
        element("h2", "Method", id="method")
        + "".join(texts)
        + details("References", items(_REFERENCES, class_="plain note"))
    )
