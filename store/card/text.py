"""The card of a run: five lines for its end, on the terminal of whoever started it.

Verdict, spikes, throttling, energy, report. What was not measured is said to be, never a number.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.steps import count_steps
from thermograd.store.telling.episodes import share_text
from thermograd.store.telling.quantities import counted, duration_text, energy_text
from thermograd.store.text import printable

SPIKES = ("spike.grad", "spike.loss")  # the alerts that a card tells of
_FEWEST_STEPS = 20  # that a spike is told from
_LONGEST, _LONGEST_REASON = 300, 120


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says; what is not known is None, or empty where it is a text.

    Attributes
    ----------
    run_id, state, reason
        Which run, how it ended, and why it did.
    verdict
        The sentence of an analysis; None where there has been none.
    analyze, report
        The commands for the verdict and the report, or the report's path.
    steps, steps_text, watched, spikes, worst, nonfinite
        Optimizer steps, the same in words, whether a detector looked at them, and what it raised: how many
        spikes and the message of the worst; then in how many steps a loss or norm was not finite.
    nonfinite_from
        The first of those steps, None where there is none.
    devices, noun, simulated
        Devices that were sampled (of GPUs and others the GPUs), what they are, whether they are a model.
    recorded_s, throttled_share, throttled_by, why_unknown
        How long they were sampled, the share of it in which heat or the brake throttled them, which of the
        two, and why that is not known.
    energy_j, energy_devices, energy_doubt
        Their energy, of how many, and what the run's facts doubt of it.
    """

    run_id: str
    state: str
    steps: int
    steps_text: str
    analyze: str
    report: str
    reason: str | None = None
    verdict: str | None = None
    watched: bool = False
    spikes: int = 0
    worst: str = ""
    nonfinite: int = 0
    nonfinite_from: int | None = None
    devices: int = 0
    noun: str = "GPU"
    simulated: bool = False
    recorded_s: float = 0.0
    throttled_share: float | None = None
    throttled_by: str = "heat"
    why_unknown: str = ""
    energy_j: float | None = None
    energy_devices: int = 0
    energy_doubt: str = ""


def command_for(run_dir: Path, command: str) -> str:
    """Return the command line that asks something of a run, from the working directory."""
    folder, at = run_dir.absolute().parent, ""
    if folder != Path.cwd() / "runs":
        shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        at = f"--runs {shlex.quote(str(shown))} "
    return f"thermograd {at}{command} {shlex.quote(run_dir.name)}"


def facts_of(run: Run) -> dict[str, Any]:
    """Return what is known of a run whoever makes its card: its end, its steps, and what to ask next."""
    steps, end = count_steps(run.path), run.end()
    return {
        "run_id": run.run_id,
        "state": end.state,
        "reason": end.reason,
        "steps": steps.steps,
        "steps_text": str(steps),
        "analyze": command_for(run.path, "analyze"),
        "report": command_for(run.path, "report"),
    }


def spikes_of(alerts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what alerts tell of spikes: how many, and the worst one's message.

    Examples
    --------
    >>> spike = {"alert": "spike.grad", "step": 7, "score": 9.0, "message": "step 7: a spike"}
    >>> spikes_of([spike, spike | {"alert": "spike.loss"}])
    {'spikes': 1, 'worst': 'step 7: a spike'}
    """
    found = [alert for alert in alerts if alert.get("alert") in SPIKES]
    worst = max(found, key=lambda alert: alert.get("score") or 0.0, default={})
    places = {(alert.get("step"), None if alert.get("step") else id(alert)) for alert in found}
    return {"spikes": len(places), "worst": str(worst.get("message") or "")}


def throttled_by(thermal: float | None, brake: float | None) -> str:
    """Return what throttled, by how much of each there was."""
    names = {"heat": thermal, "the power brake": brake}
    return " and ".join(name for name, amount in names.items() if amount) or "heat"


def card_lines(facts: CardFacts) -> list[str]:
    """Return the five lines of a card, each one line of text without control characters."""
    told = {
        "verdict": _verdict(facts),
        "spikes": _spikes(facts),
        "throttling": _throttling(facts),
        "energy": _energy(facts),
        "report": facts.report,
    }
    return [f"thermograd: {name:<10}  {printable(text, _LONGEST)}" for name, text in told.items()]


def short_facts(facts: CardFacts) -> dict[str, str]:
    """Return spikes, throttling and energy in the fewest words, for a picture."""
    return {
        "Gradient or loss spikes": _short_spikes(facts),
        "Throttling by heat": _short_throttling(facts),
        "Energy": "not measured" if facts.energy_j is None else energy_text(facts.energy_j),
    }


def _short_spikes(facts: CardFacts) -> str:
    if facts.nonfinite:
        spikes = f"; {facts.spikes:,} spikes" if facts.spikes else ""
        return f"not finite in {facts.nonfinite:,} of {counted(facts.steps, 'step')}{spikes}"
    if not facts.steps or not facts.watched:
        return "not looked for"
    if facts.spikes:
        return f"{facts.spikes:,}"
    return "too few steps to tell" if facts.steps < _FEWEST_STEPS else "none"


def _short_throttling(facts: CardFacts) -> str:
    if facts.throttled_share is None:
        return "not measured"
    return f"{_share(facts.throttled_share)} of the time" if facts.throttled_share else "none"


def _verdict(facts: CardFacts) -> str:
    end = "" if facts.state in ("finished", "imported", "simulated") else f"The run {_ended(facts)}. "
    if not facts.steps:
        return f"{end}None, for no training step was recorded."
    return end + (facts.verdict or f"Not worked out yet; this tells it: {facts.analyze}")


def _ended(facts: CardFacts) -> str:
    said = {"interrupted": "was interrupted", "live": "goes on"}.get(facts.state, facts.state)
    return f"{said} ({printable(facts.reason, _LONGEST_REASON)})" if facts.reason else said


def _spikes(facts: CardFacts) -> str:
    if not facts.steps:
        return "not looked for: no training step was recorded"
    return _broken(facts) + _found(facts)


def _broken(facts: CardFacts) -> str:
    """Return what ruins a run, which is told before its spikes."""
    if not facts.nonfinite:
        return ""
    begin = "" if facts.nonfinite_from is None else f", from step {facts.nonfinite_from:,}"
    return f"loss or norm not finite in {facts.nonfinite:,} of {counted(facts.steps, 'step')}{begin}; spikes "


def _found(facts: CardFacts) -> str:
    if not facts.watched:
        return "not looked for: no agent watched this run"
    if facts.spikes:
        worst = "; worst" if facts.spikes > 1 else ""
        return f"{facts.spikes:,} in {facts.steps_text}{worst}: {facts.worst}"
    few = f" (too few to tell, {_FEWEST_STEPS} are needed)" if facts.steps < _FEWEST_STEPS else ""
    return f"none in {facts.steps_text}{few}"


def _throttling(facts: CardFacts) -> str:
    if not facts.devices:
        return "not measured: no device was sampled"
    if facts.throttled_share is None and not facts.recorded_s:
        return "not measured: the run was too short for two samples"
    if facts.throttled_share is None:
        why = f" ({facts.why_unknown})" if facts.why_unknown else ""
        return f"not measured: {_devices(facts)} did not report it{why}"
    length = duration_text(facts.recorded_s)
    if not facts.throttled_share:
        return f"none in {length} ({_devices(facts)})"
    average = " on average" if facts.devices > 1 else ""
    share = f"{_share(facts.throttled_share)} of {length}{average}"
    return f"by {facts.throttled_by} for {share} ({_devices(facts)})"


def _share(share: float) -> str:
    return "under 0.1 %" if share < 0.001 else share_text(share)


def _energy(facts: CardFacts) -> str:
    if facts.energy_j is None:
        return "not measured" + ("" if facts.devices else ": no device was sampled")
    doubt = f"; no measurement: power is {facts.energy_doubt}" if facts.energy_doubt else ""
    part = f"{facts.energy_devices:,} of " if facts.energy_devices < facts.devices else ""
    return f"{energy_text(facts.energy_j)} ({part}{_devices(facts)}{doubt})"


def _devices(facts: CardFacts) -> str:
    return counted(facts.devices, "SIMULATED " * facts.simulated + facts.noun)
