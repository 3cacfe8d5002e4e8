"""The first screen of a run: its verdict in one sentence of plain words, and three facts beside it.

No statistic stands here: the only numbers are times (how long to run, by how much one side follows). It says
no more than `result.verdict_sentence`, which has the numbers.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from thermograd.analysis.coupling.hindrance import Kind, kind_of
from thermograd.analysis.coupling.verdict import strength
from thermograd.analysis.experiment.result import ExperimentResult
from thermograd.analysis.run.incident.result import HEATED, Incident
from thermograd.analysis.run.pair import Pair, worst_first
from thermograd.analysis.run.wording.experiment_words import leading, plain_experiment
from thermograd.analysis.run.wording.sentences import MATTERS, closest, length_text, needed_s
from thermograd.store.telling.columns import SIGNALS
from thermograd.store.text import printable

_ALPHA = 0.05
_LONGEST_NAME = 60
_WIDTH, _LABEL = 79, 11  # of a terminal's line, and of what a fact is called
_SIMULATED = " The hardware is simulated."


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a run says, for a person who knows no statistics.

    Attributes
    ----------
    sentence
        The verdict in one sentence (a second one says that the hardware is simulated).
    verdict, strength
        As in `Pair`, or of the experiment in the run; the strength is empty unless it is "coupled".
    how_sure, how_long, next_step
        How sure that is, how long a run has to be, what to do next: a sentence or two each.
    simulated
        Whether the hardware that the verdict is about is simulated.
    heat
        How much heat or the power brake slowed the run down, in one line; empty where it did not.
    """

    sentence: str
    verdict: str
    strength: str
    how_sure: str
    how_long: str
    next_step: str
    simulated: bool = False
    heat: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The three facts by what each is called, as every place shows them."""
        return {"How sure": self.how_sure, "How long": self.how_long, "What next": self.next_step}

    def to_json(self) -> dict[str, Any]:
        """Return what it says by name, the three facts as they are shown too."""
        return asdict(self) | {"facts": self.facts}

    def text(self) -> str:
        """Return the first screen for a terminal: the sentence, what heat cost in one line, the facts."""
        told = [textwrap.fill(line, _WIDTH) for line in (self.sentence, self.heat) if line]
        hanging = textwrap.TextWrapper(_WIDTH, subsequent_indent=" " * _LABEL)
        facts = [hanging.fill(f"{name:<{_LABEL}}{fact}") for name, fact in self.facts.items()]
        return "\n".join([*told, "", *facts])


class _Judged(Protocol):
    """What is needed of an `Analysis`, which shows its first screen itself."""

    pairs: list[Pair]
    simulated: list[str]
    incident: Incident | None
    experiments: list[ExperimentResult]

    @property
    def method(self) -> str: ...
    @property
    def alignment(self) -> Mapping[str, Any]: ...
    @property
    def unmeasured(self) -> Mapping[str, Any]: ...


def first_screen(analysis: _Judged) -> FirstScreen:
    """Return the verdict of a run and three facts, in plain words."""
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    said = worst_first(pair.verdict for pair in asked)
    chosen = [pair for pair in asked if pair.verdict == said]
    if analysis.method == "pearson" and analysis.pairs:
        screen = replace(_RAW, verdict=said)
    elif not asked:
        screen = _nothing_to_compare(analysis)
    elif said == "no_coupling":
        screen = _no_coupling(any(pair.verdict == "insufficient" for pair in asked))
    else:
        screen = _SAID[said](chosen, _names(analysis))
    heat = _heat(analysis)
    if heat and said == "no_coupling":
        screen = replace(screen, next_step="See what heat cost, and whether cooling can be better.")
    named = {pair.device for pair in chosen} if chosen else set(analysis.simulated)
    simulated = bool(named & set(analysis.simulated))
    if analysis.experiments:
        result = leading(analysis.experiments)
        sentence, how_sure, how_long, next_step = plain_experiment(result, said)
        screen = FirstScreen(sentence, result.verdict, "", how_sure, how_long, next_step)
        simulated = bool(result.simulated)
    return replace(
        screen,
        sentence=screen.sentence + _SIMULATED * simulated,
        simulated=simulated,
        heat=heat,
    )


class _Names:
    """What the signals of a run are called in a sentence."""

    def __init__(self, only_gpu: bool) -> None:
        self._only_gpu = only_gpu

    def training(self, pair: Pair) -> str:
        known = SIGNALS.get(pair.x)
        return f"the {known.name}" if known else printable(pair.x, _LONGEST_NAME)

    def hardware(self, pair: Pair) -> str:
        known = SIGNALS.get(pair.y)
        name = known.name if known else printable(pair.y, _LONGEST_NAME)
        return f"the GPU's {name}" if self._only_gpu else f"the {name} of {pair.called}"

    def both(self, pair: Pair) -> str:
        return f"{self.training(pair)} and {self.hardware(pair)}"


def _names(analysis: _Judged) -> _Names:
    devices = {pair.device for pair in analysis.pairs}
    incident = analysis.incident
    return _Names(len(devices) == 1 and incident is not None and incident.accelerators)


# -- coupled, or not -------------------------------------------------------------------------------


def _coupled(pairs: list[Pair], names: _Names) -> FirstScreen:
    pair = closest(pairs)
    more = " Other tests of this run find a link, too." if len(pairs) > 1 else ""
    opposite = ", in the opposite direction" if pair.r < 0 else ""
    return FirstScreen(
        sentence=f"{_begun(_who_follows(pair, names))}{opposite}: a {pair.strength} link.",
        verdict="coupled",
        strength=pair.strength,
        how_sure="If nothing were linked, at most one run in twenty would show a link by chance. What causes "
        f"what one run cannot say: one side may drive the other, or something else both.{more}",
        how_long="This run was long enough to see it; a second run tells more than a longer one.",
        next_step="Change one side on purpose, for example the power limit, and see whether the other "
        "answers; record a second run and compare the two.",
    )


def _who_follows(pair: Pair, names: _Names) -> str:
    leader, follower = names.training(pair), names.hardware(pair)
    if pair.family == "reverse":
        leader, follower = follower, leader
    if pair.memory_s is not None:
        return f"{follower} follows {leader} slowly, over about {_seconds(pair.memory_s)}"
    if not pair.is_direction_sure:
        return f"{names.both(pair)} move together (which of them first, the two hosts' clocks cannot tell)"
    if not pair.lag_s:
        return f"{names.both(pair)} move together at the same time"
    return f"{follower} follows {leader} by about {_seconds(abs(pair.lag_s))}"


def _no_coupling(untested: bool) -> FirstScreen:
    some = " Some sensors could not be tested." if untested else ""
    return FirstScreen(
        sentence="No link that matters: this run was long enough to see one, and as far as its sensors show, "
        "training and hardware go their own ways.",
        verdict="no_coupling",
        strength="",
        how_sure="Between any two signals a link that matters, of the kinds looked for, would be missed in "
        "at most one run in twenty; an answer that comes later than was looked for, or a link in a part of "
        f"the run only, could still hide.{some}",
        how_long="This run was long enough.",
        next_step="Nothing needs doing; ask again when the model, the machine or the cooling changes.",
    )


# -- one cannot tell -------------------------------------------------------------------------------


def _single_event(pairs: list[Pair], names: _Names) -> FirstScreen:
    return FirstScreen(
        sentence=f"One moment only: {names.both(closest(pairs))} meet once, and without that moment nothing "
        "is left, so it may be chance.",
        verdict="single_event",
        strength="",
        how_sure="Not sure: one moment is no pattern.",
        how_long="Until such a moment has come several times; how long that takes is not known.",
        next_step="Look in the panels at what happened then, and whether a second run shows it too.",
    )


def _inconclusive(pairs: list[Pair], names: _Names) -> FirstScreen:
    alike = [pair for pair in pairs if pair.p_adjusted <= _ALPHA]
    wide = [pair for pair in pairs if not pair.bound < MATTERS]
    if alike:
        return _rhythm(closest(alike), names)
    if wide:
        return _too_short(wide, any(pair.not_excluded for pair in pairs))
    return _another_kind(next((pair for pair in pairs if pair.not_excluded), closest(pairs)), names)


def _rhythm(pair: Pair, names: _Names) -> FirstScreen:
    return FirstScreen(
        sentence=f"Cannot tell: {names.both(pair)} look alike, but each keeps a rhythm or a memory of its "
        "own that may be all there is to it.",
        verdict="inconclusive",
        strength="",
        how_sure="Not sure either way: two rhythms look alike without any link.",
        how_long="A longer run may help; how long it has to be is not known.",
        next_step="Move what repeats (logging, checkpoints, evaluation) to another interval and run again.",
    )


def _too_short(pairs: Sequence[Pair], something_else: bool) -> FirstScreen:
    bound = max(pair.bound if math.isfinite(pair.bound) else 1.0 for pair in pairs)
    size = strength(min(bound, 1.0))
    link = "even a strong link" if size == "strong" else f"a {size} link"
    longer = _longer(needed_s(pairs))
    lead = "Nothing sure was found, though something unusual was seen" if something_else else "Nothing found"
    return FirstScreen(
        sentence=f"{lead}. This run was too short to rule out {link}: {longer}.",
        verdict="inconclusive",
        strength="",
        how_sure="Not sure either way: not found is not the same as not there. That both drift over the run, "
        "one up and the other down, is no link.",
        how_long=f"{_begun(longer)}, in all, to rule out any link that matters.",
        next_step="Run longer, or put several runs together: thermograd compare.",
    )


_KINDS = {
    "size": "one side seems to answer how large the other's jumps are, whichever way they go",
    "restlessness": "one side seems to get restless when the other does",
    "part": "a link seems to be there in a part of the run only, or to change on the way",
    "later": "an answer seems to come later than was looked for",
}


def _another_kind(pair: Pair, names: _Names) -> FirstScreen:
    seen = next((_KINDS[each["kind"]] for each in pair.not_excluded), "something unusual is seen")
    return FirstScreen(
        sentence=f"Cannot tell: no link of the usual kind, but between {names.both(pair)} {seen}.",
        verdict="inconclusive",
        strength="",
        how_sure="Not sure: that something is there is likely, how strong it is this test cannot say.",
        how_long="Length is not what is missing: a longer run of the same would say the same.",
        next_step="Look at the panels, and whether a second run shows it too.",
    )


# -- nothing could be tested -----------------------------------------------------------------------

_UNKNOWN_LENGTH = "Not known before there is something to test."
_NOTHING_SURE = "Nothing was tested, so nothing is known either way."
_UNTESTED = FirstScreen("", "insufficient", "", _NOTHING_SURE, _UNKNOWN_LENGTH, "")
_RAW = replace(
    _UNTESTED,
    sentence="No verdict: these are plain correlations, which any two things that drift have.",
    how_sure="Not sure at all: they are shown for comparison only.",
    how_long="No length makes them more than that.",
    next_step="Ask again without --method pearson.",
)
_OF_ALL_SENSORS: tuple[Kind, ...] = ("idle", "apart", "few")
_UNCHANGED = (
    "what was recorded hardly changed by itself, so there was nothing to compare",
    "Record a run whose load or whose training changes on the way.",
)
# By the kind of its reason, what hinders a pair most first: what to say where nothing could be tested.
_HINDERED: dict[Kind, tuple[str, str]] = {
    "idle": (
        "the device that was recorded did nothing while this run trained",
        "Record the device that does the training: thermograd doctor lists them.",
    ),
    "placeholder": (
        "what stands for the readings is no measurement, the sensors are missing",
        "See what this machine can measure: thermograd doctor.",
    ),
    "apart": (
        "training and hardware were never recorded at the same time",
        "Record both at once: thermograd run, or the callback of your trainer.",
    ),
    "few": ("this run was too short to test anything", "Run longer."),
    "constant": _UNCHANGED,
    "predicted": _UNCHANGED,
    "unknown": (
        "the test could not be made with what was recorded",
        "Look at the panels; a second run may tell more.",
    ),
}


def _insufficient(pairs: list[Pair], _names: _Names) -> FirstScreen:
    kind = _hindrance(pairs)
    why, next_step = _HINDERED[kind]
    if kind != "few":
        return replace(_UNTESTED, sentence=f"Cannot tell: {why}.", next_step=next_step)
    longer = _longer(needed_s(pairs))
    return replace(
        _UNTESTED,
        sentence=f"Cannot tell: {why}; {longer}.",
        how_long=f"{_begun(longer)}.",
        next_step=next_step,
    )


def _hindrance(pairs: list[Pair]) -> Kind:
    """Return what hinders most pairs; what is of single sensors only where nothing else hinders any."""
    every = Counter(map(_most_hindering, pairs))
    kinds = [kind for kind in _OF_ALL_SENSORS if every[kind]] or list(_HINDERED)
    return max(kinds, key=lambda kind: every[kind])


def _most_hindering(pair: Pair) -> Kind:
    kinds = set(map(kind_of, pair.reasons))
    return next((kind for kind in _HINDERED if kind in kinds), "unknown")


def _nothing_to_compare(analysis: _Judged) -> FirstScreen:
    matched = analysis.alignment["matched_by_device"]
    if not analysis.alignment["steps"]:
        why, next_step = "no training step was recorded", "Record a training: thermograd run."
    elif not matched:
        why = "no device was recorded beside the training"
        next_step = "See what this machine can measure: thermograd doctor."
    elif analysis.unmeasured.keys() >= matched.keys():
        why = "no temperature, power or clock could be read on this machine"
        next_step = "See what this machine can measure, and why not the rest: thermograd doctor."
    else:
        why = "no step has a gradient norm or a loss"
        next_step = "Let the training log its loss: thermograd run finds it by itself in most loops."
    return replace(_UNTESTED, sentence=f"Cannot tell: {why}.", next_step=next_step)


_SAID = {
    "coupled": _coupled,
    "single_event": _single_event,
    "inconclusive": _inconclusive,
    "insufficient": _insufficient,
}


# -- heat, and times in words ----------------------------------------------------------------------


def _heat(analysis: _Judged) -> str:
    incident = analysis.incident
    if incident is None or not incident.lines or not incident.shares.get(HEATED):
        return ""
    return incident.lines[0]


def _longer(seconds: float) -> str:
    return f"run {length_text(seconds)} or longer" if math.isfinite(seconds) else "run longer"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1g} s"


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]
