"""What stands beside every verdict, in sentences: controls, reach, direct effects, change, events."""

import math
from collections.abc import Mapping
from typing import Any

from thermograd.analysis.event_study.onsets import FEWEST_ONSETS
from thermograd.analysis.run.pair import Pair, most_telling
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.wording.sentences import length_text
from thermograd.store.telling.quantities import counted

_ALPHA = 0.05
_MOST_TOLD = 3  # devices that a sentence names


def control_lines(analysis: Analysis) -> list[str]:
    """Return one line per hardware signal: what it correlates with although nothing couples them."""
    return [
        f"{name} ({analysis.called(device)}): {', '.join(_control_parts(r))}"
        for device, signals in analysis.controls.items()
        for name, r in signals.items()
        if math.isfinite(r["grad_norm"])
    ]


def _control_parts(r: Mapping[str, Any]) -> list[str]:
    parts = [
        ("naive r {:+.2f} with grad_norm", r["grad_norm"]),
        ("{:+.2f} with time", r["time"]),
        ("{:+.2f} with learning_rate", r["learning_rate"]),
        ("{:+.2f} with grad_norm after training", r["grad_norm_after_training"]),
        ("residual r after training {:+.2f}", r["residual_after_training"]),
    ]
    for run_id, found in r["other_runs"].items():
        parts.append((f"{{:+.2f}} with grad_norm of the hardware of {run_id}", found["grad_norm"]))
        parts.append(("residual r there {:+.2f}", found["residual"]))
    return [form.format(value) for form, value in parts if math.isfinite(value)]


def reach_sentence(analysis: Analysis) -> str:
    """Return what this run could have shown; empty where nothing was tested."""
    found = analysis.sensitivity
    if not found or not math.isfinite(found["detectable_r"]):
        return ""
    text = (
        f"This run of {found['bins']:,} bins would show a residual correlation of "
        f"{found['detectable_r']:.2f} nine times out of ten"
    )
    if math.isfinite(found["detectable_r_corrected"]) and found["tests"] > 1:
        text += f" ({found['detectable_r_corrected']:.2f} after correction for {found['tests']} tests)"
    return (
        f"{text}, as the sensor shows it; one of {found['rho']:g} takes about "
        f"{length_text(60 * found['minutes_to_show'])} to show and "
        f"{length_text(60 * found['minutes_to_exclude'])} to rule out."
    )


def speed_sentence(analysis: Analysis) -> str:
    """Return where the control, speed coupling, could hardly be found; empty where it was, or could be."""
    speed = [pair for pair in analysis.pairs if pair.is_speed]
    if any(pair.verdict == "coupled" for pair in speed):
        return ""
    steady = {pair.device: pair.verdict == "insufficient" for pair in speed if pair.y == "throttled_ratio"}
    tests = [test for test in analysis.onset_tests if test.event == "throttling"]
    onsets = {test.device: test.test.n_onsets for test in tests}
    told = [
        f"{analysis.called(device)} began to throttle {counted(onsets[device], 'time')}"
        if device in onsets
        else f"the throttling of {analysis.called(device)} did not vary"
        for device in steady
        if (onsets[device] < FEWEST_ONSETS if device in onsets else steady[device])
    ]
    if not told:
        return ""
    more = [f"{len(told) - _MOST_TOLD} more likewise"] * (len(told) > _MOST_TOLD)
    return (
        "This control could hardly fire here, so its silence says nothing: "
        f"{'; '.join([*told[:_MOST_TOLD], *more])}."
    )


def further_lines(analysis: Analysis) -> list[str]:
    """Return what is known of coupled pairs besides: the direct effect, and change over the run."""
    lines = []
    for pair in most_telling(analysis.pairs):
        if pair.verdict == "coupled":
            lines += [f"{pair.x} ~ {pair.y} ({pair.called}): {text}" for text in _further(pair)]
    return lines


def _further(pair: Pair) -> list[str]:
    texts = []
    if pair.direct is not None and math.isfinite(pair.direct["r"]):
        texts.append(
            f"total effect r = {pair.r:+.2f}; direct, with power taken out as well, r = "
            f"{pair.direct['r']:+.2f} (n = {pair.n:,}, p = {pair.direct['p']:.2g}, 95 % bound "
            f"±{pair.direct['half_width']:.2f})."
        )
    if pair.over_time is not None and pair.over_time["reason"] is None:
        quarters = ", ".join(
            f"{r:+.2f} (n = {n:,})" for r, n in zip(pair.over_time["r"], pair.over_time["n"], strict=True)
        )
        changes = "it changes" if pair.over_time["p"] <= _ALPHA else "no change is seen"
        texts.append(f"r by quarters of the run {quarters}: {changes} (p = {pair.over_time['p']:.2g}).")
    return texts


def event_lines(analysis: Analysis) -> list[str]:
    """Return what spikes, collapses and throttling say; empty where there were none."""
    lines = []
    found = analysis.coincidence
    if found.get("spikes") and found.get("collapses"):
        text = (
            f"gradient spikes followed by a collapse within {found['window_s']:g} s: "
            f"{found['spikes_followed_by_a_collapse']} of {found['spikes']}; collapses with a spike before "
            f"them: {found['collapses_preceded_by_a_spike']} of {found['collapses']}"
        )
        p = found["trigger_p"]
        lines.append(f"{text} ({f'p = {p:.2g}' if math.isfinite(p) else 'too few to test'}).")
    for test in analysis.onset_tests:
        lines.append(f"{test.event} ({analysis.called(test.device)}): {test.reason}")
    for each in analysis.spike_locked:
        if not each.reason:
            lines.append(
                f"{each.y} ({analysis.called(each.device)}): {each.effect:+.2g} {each.unit} per gradient "
                f"spike, 95 % {each.effect_low:+.2g} to {each.effect_high:+.2g} "
                f"({counted(each.n_spikes, 'spike')})."
            )
    return lines
