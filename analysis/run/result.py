"""What the analysis of a run gives: pairs of signals with their verdicts, and all that goes with them."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from thermograd.analysis.display.markup import details, element, items
from thermograd.analysis.experiment.result import ExperimentResult
from thermograd.analysis.run.event_tests import AroundSpikes, OnsetsOfEvent
from thermograd.analysis.run.incident.result import Incident
from thermograd.analysis.run.pair import NARROW, Pair, closest_first, pairs_table, worst_first
from thermograd.analysis.run.readings.compared import ComparedSignals
from thermograd.analysis.run.wording.experiment_words import leading, told_beside
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.analysis.run.wording.sentences import sentence_of
from thermograd.store.telling.columns import signal
from thermograd.store.telling.episodes import Episode
from thermograd.store.telling.quantities import few_of
from thermograd.store.text import without_nan

Method = Literal["rxc", "pearson"]

_QUESTION_AND_CONTROL = (("Optimisation coupling: the question", False), ("Speed coupling: a control", True))
_MOST_PAIRS = 8
_TELLING_SENSORS = ("temperature_c", "power_w", "sm_clock_mhz")


@dataclass(eq=False)
class Analysis:
    """What one run says. See DESIGN.md section 6 for the JSON form.

    Attributes
    ----------
    run_id, method
        Which run, and how it was analysed: "rxc" (residual cross-correlation) or "pearson".
    alignment
        How many steps were matched with a sample, and why others were not.
    pairs
        Every pair of signals of every device, in each family of lags.
    controls, coincidence, onset_tests, spike_locked
        What cannot be coupling; spikes and collapses near each other; the norm before hardware events; the
        hardware around spikes.
    warnings, simulated
        What makes the data doubtful; devices whose readings come from a model.
    smallest_detectable_r, sensitivity
        What the run could have shown; see `analyze.sensitivity`.
    recognised
        What the readings themselves show, a sentence each: uneven clocks, sensors that hold or average,
        rhythms that nobody logged, a device's time constant.
    time_constants
        By device, how slowly its temperature follows its load (see `time_constants.TimeConstant`); searched
        with the other memories.
    device_labels
        What each device is called for a person, by its name.
    unmeasured
        Devices that have no signal to test, each with the sensors that it lacks and why.
    incident
        What heat cost: throttled time, slower steps, hours lost, energy.
    episodes
        The run's alerts, what repeats as one; see `thermograd.store.telling.episodes.Episode`.
    tags, notes, config
        What people gave the run: tags, notes each with its time, and the training's configuration.
    experiments
        The randomised experiments of the run, in order; see `ExperimentResult`.
    compared
        The series behind each tested pair of signals; not in the JSON form.
    """

    run_id: str
    method: Method
    alignment: dict[str, Any]
    pairs: list[Pair]
    controls: dict[str, Any]
    coincidence: dict[str, Any]
    warnings: list[str]
    simulated: list[str]
    smallest_detectable_r: float | None
    sensitivity: dict[str, Any] = field(default_factory=dict)
    onset_tests: list[OnsetsOfEvent] = field(default_factory=list)
    spike_locked: list[AroundSpikes] = field(default_factory=list)
    recognised: list[str] = field(default_factory=list)
    time_constants: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    device_labels: dict[str, str] = field(default_factory=dict)
    unmeasured: dict[str, dict[str, str]] = field(default_factory=dict)
    incident: Incident | None = None
    episodes: list[Episode] = field(default_factory=list, repr=False)
    tags: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    experiments: list[ExperimentResult] = field(default_factory=list, repr=False)
    compared: list[ComparedSignals] = field(default_factory=list, repr=False)

    def called(self, device: str) -> str:
        """Return what a device is called for a person."""
        return self.device_labels.get(device, device)

    def what_heat_cost(self) -> list[str]:
        """Return a line for each thing that heat cost this run; the first says whether it did."""
        return [] if self.incident is None else self.incident.lines

    def _repr_html_(self) -> str:
        lead, colon, rest = verdict_sentence(self).partition(": ")
        screen = first_screen(self)
        facts = [element("span", element("em", name), f": {fact}") for name, fact in screen.facts.items()]
        parts = [element("p", element("strong", screen.sentence), style=NARROW), items(facts, style=NARROW)]
        parts += [items(self.what_heat_cost(), style=NARROW)]
        parts += [element("p", element("strong", lead, colon) if colon else lead, rest, style=NARROW)]
        for title, speed in _QUESTION_AND_CONTROL:
            chosen = [pair for pair in self.pairs if pair.is_speed == speed]
            if chosen:
                closest = pairs_table(closest_first(chosen)[:_MOST_PAIRS], title)
                parts += [element("p", element("strong", title)), closest.__html__()]
        if self.warnings:
            count = len(self.warnings)
            parts.append(details(f"{count} warning{'s' * (count != 1)}", items(self.warnings)))
        return element("div", *parts, class_="thermograd")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of ``analyze --json``; what is not known is null."""
        left_out = ("period_s", "lags_s", "profile", "memories_s", "slow_profile")
        pairs = [
            {k: value for k, value in asdict(pair).items() if k not in left_out}
            | {"lag_interval_s": pair.lag_interval_s}
            for pair in self.pairs
        ]
        document = vars(self) | {
            "pairs": pairs,
            "onset_tests": [test.to_json() for test in self.onset_tests],
            "episodes": [episode.to_json() for episode in self.episodes],
            "spike_locked": [course.to_json() for course in self.spike_locked],
            "experiments": [each.to_json() for each in self.experiments],
            "incident": None if self.incident is None else self.incident.to_json(),
        }
        names = {name: name for name in document if name != "compared"} | {"simulated": "simulated_devices"}
        return {shown: without_nan(document[name]) for name, shown in names.items()}


def shown_verdict(analysis: Analysis) -> str:
    """Return the verdict that leads: of the experiment where the run holds one, else of the observation."""
    return leading(analysis.experiments).verdict if analysis.experiments else question_verdict(analysis)


def question_verdict(analysis: Analysis) -> str:
    """Return the one verdict of the question by observation: the most telling of all optimisation pairs."""
    return worst_first(pair.verdict for pair in analysis.pairs if not pair.is_speed)


def verdict_sentence(analysis: Analysis) -> str:
    """Return what the run shows about the question, how sure, and what it does not say.

    Of a run with an experiment what that shows, and what watching alone would say.
    """
    if not analysis.experiments:
        return observed_sentence(analysis)
    first = leading(analysis.experiments)
    others = [each.sentence for each in analysis.experiments if each is not first]
    told = [first.sentence, *(f"Another experiment of this run: {each}" for each in others)]
    return " ".join([*told, beside_experiment(analysis)])


def beside_experiment(analysis: Analysis) -> str:
    """Return what watching alone shows, beside an experiment as what it is: association only."""
    text = observed_sentence(analysis)
    if not analysis.experiments:
        return text
    return told_beside(text, leading(analysis.experiments), question_verdict(analysis))


def observed_sentence(analysis: Analysis) -> str:
    """Return what watching alone shows about the question, without any experiment."""
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    if analysis.method == "pearson" and analysis.pairs:
        return (
            "Naive Pearson correlations of raw values, for comparison only: "
            "shared trends alone make them large, so they support no verdict."
        )
    said = question_verdict(analysis)
    chosen = [pair for pair in asked if pair.verdict == said]
    if not asked:
        return _nothing_to_compare(analysis)
    text = sentence_of(said, chosen)
    simulated = [
        analysis.called(name) for name in analysis.simulated if any(pair.device == name for pair in chosen)
    ]
    if simulated:
        text += f" The hardware signals are SIMULATED ({few_of(simulated)})."
    return text


def _lacking(analysis: Analysis) -> str:
    """Return why the devices have nothing to test, of many the first; each reason once."""
    name, reasons = next(iter(analysis.unmeasured.items()))
    more = len(analysis.unmeasured) - 1
    who = analysis.called(name) + f" and {more} other device{'s' * (more > 1)}" * bool(more)
    told = [
        f"{signal(sensor).name}: {reason}" for sensor, reason in reasons.items() if sensor in _TELLING_SENSORS
    ]
    return f"{who}: {'; '.join(told)}" if told else who


def _nothing_to_compare(analysis: Analysis) -> str:
    if not analysis.alignment["steps"]:
        why = "The run has no training step."
    elif not analysis.alignment["matched_by_device"]:
        why = "No device was sampled in this run."
    elif analysis.unmeasured.keys() >= analysis.alignment["matched_by_device"].keys():
        why = (
            f"No sensor of temperature, power or clock was read on this machine ({_lacking(analysis)}): "
            "there is nothing to compare the training with. What a machine can measure is told by thermograd "
            "doctor."
        )
    else:
        why = "No step has a gradient norm or a loss."
    return f"CANNOT TELL (insufficient data): {why}"
