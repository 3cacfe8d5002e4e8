"""Two runs of one training: the same to the last bit, or the first step, rank and layer at which they differ.

Where the code is deterministic the same seed gives the same losses, however warm the hardware is. A
difference is nondeterminism of the code or a fault of the hardware; a twin without heat tells them apart.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from thermograd.analysis.comparison.differences import Setting
from thermograd.analysis.comparison.twin_hardware import Moment, Warmth, moments, warmth
from thermograd.analysis.comparison.twin_settings import twin_settings
from thermograd.analysis.comparison.twin_values import (
    INPUTS,
    Apart,
    LayerApart,
    NotFinite,
    Values,
    layer_apart,
    values_of,
)
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.experiment.replays import Replay, read_replays
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable, without_nan

TwinVerdict = Literal["equal", "equal so far", "differs", "not comparable"]
_MOST_REASONS = 3
_LONGEST, _LONGEST_VALUE = 60, 200  # letters of a name, and of a value, that a log holds
_MOST_ULPS = 10**6  # beyond, the share says it


@dataclass(frozen=True, slots=True)
class Twin:
    """What a comparison of two runs of one training gives.

    Attributes
    ----------
    verdict, reasons
        ``equal``: bit by bit; ``equal so far``: likewise, but one run made fewer steps or did not end by
        itself with exit code 0; ``differs``; ``not comparable``: two trainings, or nothing to compare: why.
    run_ids, heat, asked_heat
        Of both runs, and what heated each: the arms of their experiments; None for nothing. What the second
        was to be heated by.
    step_s
        Median step time of both runs, s; None where not known.
    settings, places
        What differs: by which they are two trainings, and what is only of place, name or instrument.
    compared
        By signal, values of a step and rank that both runs know.
    one_sided
        By signal, values that one run alone knows, at steps of both.
    common, ranks, only_first, only_second
        Steps of a rank that both runs have, of how many ranks, and that one has alone.
    apart
        Every signal that differs, the first to do so first.
    layer
        At the first step whose layer norms both runs logged and that differs; None without.
    moments
        The hardware of both runs at the first difference.
    warmth
        Of the devices of both runs, while they trained.
    replays
        What the trainings' own replays have said, with the run's id.
    not_finite
        Where signals are equal and no number: a training that has broken in both runs alike.
    ends
        How each run ended; None where as it should, or where that is not known.
    is_control
        Whether neither run was to be heated.
    """

    verdict: TwinVerdict
    reasons: list[str]
    run_ids: tuple[str, str]
    heat: tuple[str | None, str | None]
    asked_heat: str | None
    step_s: tuple[float | None, float | None]
    settings: list[Setting]
    places: list[Setting]
    compared: dict[str, int]
    one_sided: dict[str, int]
    common: int
    ranks: int
    only_first: int
    only_second: int
    apart: list[Apart] = field(default_factory=list)
    layer: LayerApart | None = None
    moments: list[Moment] = field(default_factory=list)
    warmth: list[Warmth] = field(default_factory=list)
    replays: list[tuple[str, Replay]] = field(default_factory=list)

    simulated: bool = False
    not_finite: list[NotFinite] = field(default_factory=list)
    ends: tuple[str | None, str | None] = (None, None)
    is_control: bool = False

    @property
    def first(self) -> Apart | None:
        """The first difference of all; None where there is none."""
        return self.apart[0] if self.apart else None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return ("SIMULATED: " if self.simulated else "") + twin_sentence(self)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; what is not known, or not finite, is null."""
        told = asdict(self)
        told["replays"] = [{"run_id": run_id} | asdict(replay) for run_id, replay in self.replays]
        told["first"] = None if self.first is None else asdict(self.first)
        return without_nan(told | {"sentence": self.sentence})  # type: ignore[no-any-return]


def compare_twins(first: Run, second: Run) -> Twin:
    """Compare two runs of one training.

    Raises
    ------
    NotEnoughDataError
        If both are the same run, or one has no step.
    """
    if first.path.resolve() == second.path.resolve():
        raise NotEnoughDataError(f"a twin is two runs; both are {first.run_id}")
    series = [load_series(first), load_series(second)]
    for data in series:
        if not data.step_time_ns.size:
            raise NotEnoughDataError(f"{data.run.run_id} has no training step: there is nothing to compare")
    settings, places = twin_settings(*series)
    values = values_of(first, second)
    found = (signal.apart() for signal in values.signals)
    apart = sorted((each for each in found if each is not None), key=_earliest)
    marks = [data.marks for data in series]
    reasons = [_reason(setting) for setting in settings] + _nothing(values)
    ends = _end(first), _end(second)
    is_whole = not (any(ends) or values.only_first or values.only_second)
    equal: TwinVerdict = "equal" if is_whole else "equal so far"
    verdict: TwinVerdict = "not comparable" if reasons else "differs" if apart else equal
    return Twin(
        verdict=verdict,
        reasons=reasons,
        run_ids=(first.run_id, second.run_id),
        heat=(_heat(marks[0]), _heat(marks[1])),
        asked_heat=_asked_heat(second),
        step_s=(_step_s(series[0]), _step_s(series[1])),
        settings=settings,
        places=places,
        compared={signal.name: int(signal.step.size) for signal in values.signals},
        one_sided={signal.name: signal.one_sided for signal in values.signals if signal.one_sided},
        common=values.common,
        ranks=values.ranks,
        only_first=values.only_first,
        only_second=values.only_second,
        apart=apart,
        layer=layer_apart(*marks),
        moments=moments(series, apart[0].step) if apart else [],
        warmth=warmth(*series),
        replays=[
            (data.run.run_id, said)
            for data, own in zip(series, marks, strict=True)
            for said in read_replays(own)
        ],
        simulated=any(map(_is_simulated, series)),
        not_finite=sorted(
            (each for each in (signal.not_finite() for signal in values.signals) if each is not None),
            key=lambda each: each.first_step,
        ),
        ends=ends,
        is_control=_told_of_heat(second) == "none",
    )


def _earliest(apart: Apart) -> tuple[int, int, bool]:
    """Order by step; what the training was given comes before what came of it, at one step."""
    return apart.step, apart.rank, apart.signal not in INPUTS


def _is_simulated(data: RunSeries) -> bool:
    return data.run.state() == "simulated"


def _reason(setting: Setting) -> str:
    one, two = (printable("none" if value is None else value, _LONGEST_VALUE) for value in setting.values)
    name = (
        setting.name
        if setting.group in ("code", "machine", "experiment")
        else f"{setting.group} {setting.name}"
    )
    return f"{printable(name, _LONGEST)} is {one} in the first run and {two} in the second"


def _nothing(values: Values) -> list[str]:
    if not values.common:
        return ["the runs have no step in common"]
    known = [signal for signal in values.signals if signal.step.size and signal.name not in INPUTS]
    return [] if known else ["no loss and no gradient norm is known in both runs at any step"]


def _heat(marks: list[dict[str, Any]]) -> str | None:
    """Return what heated a run: the arms of its experiments whose assignments were applied."""
    arms = [each.schedule.arm for each in read_experiments(marks) if each.applied or each.assigned]
    return ", ".join(dict.fromkeys(printable(arm, _LONGEST) for arm in arms)) or None


def _asked_heat(run: Run) -> str | None:
    """Return what `thermograd twin` was to heat a run by."""
    heat = _told_of_heat(run)
    return None if heat in (None, "none") else printable(heat, _LONGEST)


def _told_of_heat(run: Run) -> Any:
    told = run.facts.get("twin")
    return told.get("heat") if isinstance(told, dict) else None


def _end(run: Run) -> str | None:
    """Return how a run ended, where that is not as it should."""
    end = run.end()
    if end.exit_code:
        return f"ended with exit code {end.exit_code}"
    if end.state == "live":
        return "has not ended"
    return f"is {end.state}" if end.state in ("failed", "interrupted", "crashed") else None


def _step_s(data: RunSeries) -> float | None:
    times = data.training("step_time_s")
    known = times[np.isfinite(times)]
    return float(np.median(known)) if known.size else None


# -- in words ----------------------------------------------------------------------------------------


def spoken(name: str) -> str:
    """Return a signal's name for a person."""
    return "number of tokens" if name == "tokens" else signal(name).name


def twin_sentence(twin: Twin) -> str:
    """Return the verdict in a sentence or two, as a person would tell it."""
    if twin.verdict == "not comparable":
        more = len(twin.reasons) - _MOST_REASONS
        told = "; ".join(twin.reasons[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
        return f"NOT COMPARABLE: {told}. {_all_the_same(twin)}"
    if twin.verdict == "differs":
        return f"DIFFERS from {_place(twin)}. {_what_it_means(twin)}"
    names = " and ".join(spoken(name) for name, n in twin.compared.items() if n and name not in INPUTS)
    ranks = f" of {twin.ranks} ranks" if twin.ranks > 1 else ""
    so_far = _so_far(twin)
    how = "EQUAL to the last bit" if not so_far else "EQUAL SO FAR, to the last bit"
    steps = f"{'the' if so_far else 'all'} {counted(twin.common, 'step')}{ranks} that both runs have"
    broken = ", ".join(map(_not_finite, twin.not_finite))
    told = "".join(f"; {each}" for each in [*so_far, *([f"but {broken}"] if broken else [])])
    return f"{how}: {names} in {steps}{told}. {_told_heat(twin)}"


def _so_far(twin: Twin) -> list[str]:
    """Return what one run did not do that the other did, and how they ended."""
    fewer = enumerate((twin.only_second, twin.only_first), 1)
    told = [f"run {place} made {n:,} fewer" for place, n in fewer if n]
    return told + [f"run {place} {end}" for place, end in enumerate(twin.ends, 1) if end]


def _not_finite(broken: NotFinite) -> str:
    """Return where a signal is no number in both."""
    if broken.to_the_end:
        return f"{spoken(broken.signal)} is not finite from step {broken.first_step:,} on"
    times = counted(broken.values, "value")
    return f"{spoken(broken.signal)} is not finite in {times}, first at step {broken.first_step:,}"


def _place(twin: Twin) -> str:
    first = twin.first
    assert first is not None
    where = f"step {first.step:,}" + (f" of rank {first.rank}" if twin.ranks > 1 else "")
    digits = 17 if first.precision == "float64" else 9
    values = f"{first.first:.{digits}g} and {first.second:.{digits}g}"
    return f"{where}: {spoken(first.signal)} {values}{size_text(first)}, {_before(first)}"


def _before(first: Apart) -> str:
    if not first.equal_before:
        return "the first value that both have"
    return f"after {counted(first.equal_before, 'value')} equal to the last bit"


def size_text(apart: Apart) -> str:
    """Return how far two values are apart, in brackets; empty where one is not finite."""
    if apart.ulps is None:
        return ""
    ulps = f"{counted(apart.ulps, 'ulp')} of {apart.precision}" if apart.ulps <= _MOST_ULPS else ""
    share = "" if apart.relative is None else f"{apart.relative:.2g} of it"
    return f" ({', '.join(filter(None, (ulps, share))) or 'from 0'})"


def _what_it_means(twin: Twin) -> str:
    first = twin.first
    if first is not None and first.signal in INPUTS:
        given = f"The {spoken(first.signal)} is given to the training"
        return f"{given}: this is another training from there on, not another result."
    if first is not None and first.step == 1:
        likelier = "another seed, other data or other weights are likelier than hardware"
        return f"They differ from the first step: {likelier} (twin --seed N seeds the script)."
    means = "That is nondeterminism of the code or a fault of the hardware"
    if any(twin.heat):
        return f"{means}; a twin without heat (--heat none) tells which."
    return f"{means}; neither run was heated by an experiment."


def _all_the_same(twin: Twin) -> str:
    if not twin.common:
        return ""
    first = twin.first
    if first is None:
        return (
            "What both logged is equal to the last bit all the same." if any(twin.compared.values()) else ""
        )
    return f"What they logged parts at {_place(twin)}."


def _told_heat(twin: Twin) -> str:
    if twin.asked_heat and not twin.heat[1]:
        none = f"The second run was to be heated ({twin.asked_heat}), and no block of it came"
        return f"{none}: that shows no more than that the code repeats itself."
    if twin.is_control:
        return "Neither run was heated: a control."
    rows = [row for row in twin.warmth if row.first_c is not None and row.second_c is not None]
    if not rows:
        return "How much warmer the second run was is not known: no temperature was read in both."
    row = max(rows, key=lambda row: abs(_warmer(row)))
    by = _warmer(row)
    who = f"{row.role}{' (simulated)' if row.simulated else ''}"
    return f"The second run's {who} was {abs(by):.1f} °C {'warmer' if by >= 0 else 'cooler'} (medians)."


def _warmer(row: Warmth) -> float:
    return (row.second_c or 0.0) - (row.first_c or 0.0)
