"""Every pair of signals of a run tested as in `analyze`, at a tenth of the price: most pairs at a glance."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired, paired_residuals
from thermograd.analysis.coupling.cross_correlation import shortest_series
from thermograd.analysis.coupling.responses import MEMORIES
from thermograd.analysis.coupling.screened import Screened, screened
from thermograd.analysis.coupling.verdict import as_sentence, gates
from thermograd.analysis.fleet.aligned import Aligned, Key
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.remembered import Remembered
from thermograd.analysis.run.common_drivers import Drivers, driver_columns
from thermograd.analysis.run.pairs import placeholders, places
from thermograd.analysis.run.series import Device, RunSeries

MOST_KEPT = 4096  # bins of residuals that are kept for the session swap

Row = dict[str, Any]


def pair_findings(data: RunSeries, question: Question, aligned: Mapping[Key, Aligned]) -> Iterator[Row]:
    """Yield a row for every pair of signals that a run has, device by device."""
    known = [x for x in question.x if data.has_training(x)]
    for device in data.devices.values():
        remembered = Remembered()
        for y in question.y:
            values = device.signal(y)
            if values is None or not np.isfinite(values).any():
                continue
            for x in known:
                naive = aligned.get((data.run.run_id, device.name, x, y), Aligned(0, None))
                row = {"kind": "pair", "device": device.name, "x": x, "y": y, "naive_r": naive.naive_r}
                row |= {"matched": naive.matched, "model": model_of(device)}
                yield row | _tested(data, device, x, y, values, question, remembered)


def model_of(device: Device) -> str | None:
    """Return a device's model; None where it was not recorded."""
    told = device.facts.get("model")
    return str(told) if told else None


def _tested(
    data: RunSeries,
    device: Device,
    x: str,
    y: str,
    values: Floats,
    question: Question,
    remembered: Remembered,
) -> Row:
    grid = data.grid(x, device, values)
    blocked = placeholders(device, y) or gates(grid.x, grid.y, loads=data.loads(device))
    if blocked:
        return {"verdict": "insufficient", "n": grid.x.size, "error": " ".join(blocked)}
    drivers = driver_columns(data, device, grid, x, y)
    max_lag = max(1, round(question.max_lag_s / grid.period_s))
    clean = partial(_cleaned, grid, max_lag, remembered)
    held = clean(drivers)
    found = screened(
        held,
        partial(clean, drivers.unmoved()) if drivers.moved.any() else None,
        max_lag,
        np.array(MEMORIES) / grid.period_s,
        question.permutations,
        partial(_seed, data.run.run_id, device.name, x, y),
    )
    return _row(found, grid) | _kept(held, grid, int(data.training_series(x)[0][0]))


def _cleaned(grid: CausalGrid, max_lag: int, remembered: Remembered, by: Drivers) -> Paired:
    return paired_residuals(
        grid.x,
        grid.y,
        by.lagged,
        grid.segment,
        bins=grid.bin,
        unlagged=by.unlagged,
        shortest=shortest_series(max_lag),
        remembered=remembered,
    )


def _seed(*names: str) -> int:
    """Return a seed that depends on nothing but what is tested: not on chunk, order or engine."""
    return int.from_bytes(hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest())


def _row(found: Screened, grid: CausalGrid) -> Row:
    if found.reason:
        return {"verdict": "insufficient", "n": found.n, "error": as_sentence(found.reason)}
    return {
        "verdict": "tested",
        "n": found.n,
        "df": found.df,
        "r": found.r,
        "lag_s": found.lag * grid.period_s,
        "memory_s": None if found.memory is None else found.memory * grid.period_s,
        "family": found.family,
        "p": found.p,
        "guard_p": found.guard_p,
        "gate_p": found.gate_p,
        "period_s": grid.period_s,
        "profile": found.profile.tolist(),
    }


def _kept(held: Paired, grid: CausalGrid, begin_ns: int) -> Row:
    """Return both residuals by the bin's number since the training began, for the session swap."""
    place = places(grid, begin_ns) if not held.reason else None
    if place is None:
        return {}
    inside = place < MOST_KEPT
    kept = {}
    for name, values in (("residual_x", held.full(held.x)), ("residual_y", held.full(held.y))):
        whole = np.full(int(place[inside][-1]) + 1 if inside.any() else 0, np.nan, dtype=np.float16)
        whole[place[inside]] = values[inside]
        kept[name] = whole.tobytes()
    return kept


def counted_p(row: Mapping[str, Any], alpha: float = 0.05) -> float:
    """Return the p with which a row takes part: that of one event, or of a rhythm, is what it is without.

    NaN where nothing was tested. Never smaller than the row's own p: what holds of that holds of this.
    """
    p = row["p"]
    if p is None or math.isnan(p):
        return math.nan
    held_up = [other for other in (row["guard_p"], row["gate_p"]) if other is not None and other > alpha]
    return float(max([p, *held_up]))
