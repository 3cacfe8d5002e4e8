"""Where the values of two runs part, bit by bit: of every rank, step by step, in units of the last place."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.store.experiment.marks import note_of
from thermograd.store.log.reader import read_kind
from thermograd.store.processes import rank_of_writer
from thermograd.store.runs.catalogue import Run

INPUTS = ("learning_rate", "tokens")  # of a step: what the training was given
OUTCOMES = ("loss", "grad_norm")
# of what a script logs beside: a value of the training, not of its speed or machine
_OF_TRAINING = re.compile(r"loss|norm|perplexity|\bppl\b|accuracy|(?:\b|_)acc(?:\b|_)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Apart:
    """One signal at its first step and rank at which two runs differ.

    `ulps`: how many numbers of `precision` apart they are, the narrowest type that holds all of the signal's
    values; `relative`: of the difference to the first run's value; both None of what is not finite. Of
    `compared` values `different` are not equal, and `equal_before` come before the first of them.
    """

    signal: str
    step: int
    rank: int
    first: float
    second: float
    ulps: int | None
    precision: str
    relative: float | None
    compared: int
    different: int
    equal_before: int


@dataclass(frozen=True, slots=True)
class LayerApart:
    """A layer whose norm differs, at the first step whose layers both runs logged and any of them differs."""

    layer: str
    step: int
    rank: int
    first: float
    second: float
    relative: float | None
    layers_different: int
    layers_compared: int


@dataclass(frozen=True, slots=True)
class NotFinite:
    """Where a signal is no number in both runs: its first step, how often, and whether from there on."""

    signal: str
    first_step: int
    values: int
    to_the_end: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of two runs at the steps and ranks that both have, in the order of steps, then ranks.

    `step`, `rank`, `first`, `second`: shape (n,); `one_sided`: places where one run alone knows it.
    """

    name: str
    step: Ints
    rank: Ints
    first: Floats
    second: Floats
    one_sided: int = 0

    def apart(self) -> Apart | None:
        """Return where it first differs; None where all is equal. NaN beside NaN is equal."""
        differ = ~same_bits(self.first, self.second)
        if not differ.any():
            return None
        place = int(np.argmax(differ))
        one, two = float(self.first[place]), float(self.second[place])
        precision = narrowest(np.concatenate([self.first, self.second]))
        relative = abs(two - one) / abs(one) if one and math.isfinite(two - one) else None
        at = int(self.step[place]), int(self.rank[place])
        counts = int(differ.size), int(differ.sum()), place
        return Apart(self.name, *at, one, two, ulps_apart(one, two, precision), precision, relative, *counts)

    def not_finite(self) -> NotFinite | None:
        """Return where both runs have no finite number; None where there is no such place."""
        broken = ~np.isfinite(self.first) & ~np.isfinite(self.second)
        if not broken.any():
            return None
        first = int(np.argmax(broken))
        return NotFinite(self.name, int(self.step[first]), int(broken.sum()), bool(broken[first:].all()))


@dataclass(frozen=True, slots=True)
class Values:
    """What two runs logged: signals in common, and steps that one of them has alone (of any rank)."""

    signals: list[Signal]
    common: int
    ranks: int
    only_first: int
    only_second: int


def same_bits(one: Floats, two: Floats) -> Mask:
    """Return where two arrays hold the same bits; one NaN is as good as another."""
    bits: Mask = one.view(np.int64) == two.view(np.int64)
    return bits | (np.isnan(one) & np.isnan(two))


def narrowest(values: Floats) -> str:
    """Return the narrowest floating-point type that holds all of the values.

    Examples
    --------
    >>> narrowest(np.array([1.5, 3.0])), narrowest(np.array([0.1])), narrowest(np.float64(np.float32([0.1])))
    ('bfloat16', 'float64', 'float32')
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        single = finite.astype(np.float32)
        half = finite.astype(np.float16)
    if (single != finite).any():
        return "float64"
    if not (single.view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    return "float16" if (half == finite).all() else "float32"


def ulps_apart(one: float, two: float, precision: str) -> int | None:
    """Return how many numbers of a type two of them are apart; None where one is not finite.

    Examples
    --------
    >>> ulps_apart(1.0, math.nextafter(1.0, 2), "float64"), ulps_apart(-0.0, 0.0, "float32")
    (1, 0)
    """
    if not (math.isfinite(one) and math.isfinite(two)):
        return None
    places = [_place(value, precision) for value in (one, two)]
    return abs(places[1] - places[0])


def _place(value: float, precision: str) -> int:
    """Return the place of a number among all of its type, in order; 0 is that of zero."""
    if precision == "float64":
        magnitude = int(np.float64(abs(value)).view(np.int64))
    elif precision == "float16":
        magnitude = int(np.float16(abs(value)).view(np.int16))
    else:
        magnitude = int(np.float32(abs(value)).view(np.int32)) >> (16 if precision == "bfloat16" else 0)
    return -magnitude if value < 0 else magnitude


# -- reading -----------------------------------------------------------------------------------------


def values_of(first: Run, second: Run) -> Values:
    """Return what both runs logged of their steps, and of their own metrics what is of the training."""
    tables = [_in_logged_order(read_kind(run.path, "step"), "step") for run in (first, second)]
    paired = _paired(tables)
    signals = [_signal(name, tables, paired) for name in (*INPUTS, *OUTCOMES)]
    metrics = [_in_logged_order(read_kind(run.path, "metric"), "step") for run in (first, second)]
    signals += _of_metrics(metrics)
    has = [(place >= 0) for place in paired.places]
    both = has[0] & has[1]
    return Values(
        signals=[signal for signal in signals if signal.step.size or signal.one_sided],
        common=int(both.sum()),
        ranks=len(np.unique(paired.rank[both])),
        only_first=int((has[0] & ~has[1]).sum()),
        only_second=int((has[1] & ~has[0]).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Paired:
    step: Ints
    rank: Ints
    places: tuple[Ints, Ints]  # of the row in each run's table; -1 where it has none


def _in_logged_order(table: pa.Table, known: str) -> pa.Table:
    table = table.filter(pc.is_valid(table.column(known)))
    return table.sort_by([("time_ns", "ascending"), ("seq", "ascending")])


def _paired(tables: Sequence[pa.Table]) -> _Paired:
    """Pair rows by step and rank; of a step that a restarted job logged twice the last counts."""
    keys = [np.stack([_whole(table, "step"), _whole(table, "rank")], axis=1) for table in tables]
    unique, which = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    places = []
    for rows in np.split(which.reshape(-1), [len(keys[0])]):
        place: NDArray[np.int64] = np.full(len(unique), -1, dtype=np.int64)
        place[rows] = np.arange(rows.size)
        places.append(place)
    return _Paired(unique[:, 0], unique[:, 1], (places[0], places[1]))


def _whole(table: pa.Table, name: str) -> Ints:
    return np.asarray(table.column(name).cast(pa.int64()).fill_null(0), dtype=np.int64)


def _signal(name: str, tables: Sequence[pa.Table], paired: _Paired, column: str | None = None) -> Signal:
    both = (paired.places[0] >= 0) & (paired.places[1] >= 0)
    found, known = [], []
    for table, place in zip(tables, paired.places, strict=True):
        whole = table.column(column or name)
        rows = place[both]
        found.append(np.asarray(whole.cast(pa.float64(), safe=False).fill_null(0.0), dtype=np.float64)[rows])
        known.append(np.asarray(whole.is_valid())[rows])
    kept = known[0] & known[1]
    one_sided = int((known[0] != known[1]).sum())
    step, rank = paired.step[both][kept], paired.rank[both][kept]
    return Signal(name, step, rank, found[0][kept], found[1][kept], one_sided)


def _of_metrics(tables: Sequence[pa.Table]) -> Iterator[Signal]:
    names = [set(table.column("name").unique().to_pylist()) for table in tables]
    for name in sorted(filter(None, names[0] & names[1])):
        if _OF_TRAINING.search(name):
            chosen = [table.filter(pc.equal(table.column("name"), name)) for table in tables]
            yield _signal(name, chosen, _paired(chosen), "value")


# -- layers ------------------------------------------------------------------------------------------


def layer_apart(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> LayerApart | None:
    """Return the layer that says most, by the marks of two runs; None where none differs, or both log none.

    The largest relative difference at the first step and rank at which any layer differs.
    """
    one, two = _layers(first), _layers(second)
    for step, rank in sorted(one.keys() & two.keys()):
        here, there = one[step, rank], two[step, rank]
        shared = [layer for layer in here if layer in there]
        apart = [layer for layer in shared if here[layer] != there[layer]]
        if apart:
            worst = max(apart, key=lambda layer: _relative(here[layer], there[layer]) or 0.0)
            norms = here[worst], there[worst]
            counts = len(apart), len(shared)
            return LayerApart(worst, step, rank, *norms, _relative(*norms), *counts)
    return None


def _relative(one: float, two: float) -> float | None:
    return abs(two - one) / abs(one) if one else None


def _layers(marks: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], dict[str, float]]:
    """Return the norms of layers by step and rank, as the marks of `layer_norms` tell them."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    for mark in marks:
        if mark.get("step") is None:
            continue
        try:
            layers = note_of(mark, "layer_norms")["layer_norms"]
            norms = {str(layer["layer"]): float(layer["norm"]) for layer in layers}
        except (ValueError, KeyError, TypeError):  # a script's own note
            continue
        found[mark["step"], rank_of_writer(mark.get("writer") or "") or 0] = norms
    return found
