"""Energy of a run: from the device's own counter, or from its power over time, and it says from which.

`ENERGY_SQL` gives the same totals in SQL over the views, so that anyone can check them.
"""

import math
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.run.series import Device, RunSeries, one_by_one
from thermograd.store.efficiency.energy import COUNTER, Joules, joules_between

# Joules between two readings: the counter's difference where it runs, else mean power times time. Of
# an interval that the training covers in part, that part. A row of the steps is an entry of a log, which may
# be of many steps: as many as its number is above that of the one before (the usual number after a restart).
ENERGY_SQL = """\
WITH readings AS (
  SELECT device, time_ns, energy_j, power_w, count(energy_j) OVER (PARTITION BY device) > 1 AS counted
  FROM samples WHERE run_id = '{run_id}'
), known AS (
  SELECT *, lag(time_ns) OVER w AS before_ns,
    CASE WHEN counted THEN energy_j - lag(energy_j) OVER w
         ELSE (power_w + lag(power_w) OVER w) / 2 * (time_ns - lag(time_ns) OVER w) / 1e9 END AS joules
  FROM readings WHERE CASE WHEN counted THEN energy_j ELSE power_w END IS NOT NULL
  WINDOW w AS (PARTITION BY device ORDER BY time_ns)
), usable AS (
  SELECT * FROM known
  QUALIFY joules >= 0 AND time_ns > before_ns AND (counted OR time_ns - before_ns
    <= 5 * median(time_ns - before_ns) OVER (PARTITION BY device))
), entries AS (
  SELECT time_ns, step_time_s, lag(time_ns) OVER w AS before_ns, step - lag(step) OVER w AS jump
  FROM steps WHERE run_id = '{run_id}' AND rank IS NOT DISTINCT FROM
    (SELECT min(rank) FROM steps WHERE run_id = '{run_id}')
  WINDOW w AS (ORDER BY time_ns, seq)
), training AS (
  SELECT min(CASE WHEN step_time_s IS NULL OR jump > 1 THEN coalesce(before_ns, time_ns)
                  ELSE time_ns - step_time_s * 1e9 END) AS first_ns,
    max(time_ns) AS last_ns, count(*) AS entries,
    sum(CASE WHEN before_ns IS NULL THEN (step_time_s IS NOT NULL)::INT
             WHEN jump < 0 THEN (SELECT coalesce(median(jump), 1) FROM entries WHERE jump > 0)
             ELSE coalesce(jump, 1) END) AS steps
  FROM entries
)
SELECT device, sum(joules) AS total_j, sum(joules * greatest(0, least(time_ns, last_ns)
    - greatest(before_ns, first_ns)) / (time_ns - before_ns)) FILTER (entries > 0) AS training_j,
  training_j / nullif(any_value(steps), 0) AS joules_per_step
FROM usable, training GROUP BY device ORDER BY device"""


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """Energy of one device; what is not known is None."""

    # device, source: name; "energy counter" or "power over time" (mean power of two readings times the time
    # between)
    device: str
    source: str
    total_j: float  # over the whole recording, J
    training_j: float | None = None  # from the beginning of the first step to the end of the last, J
    # mean_per_step_j, low_per_step_j, high_per_step_j: `training_j` over the number of steps in that time;
    # the middle 90 in 100 steps (of a log of every n-th: of the means of n) lie between the other two, J
    mean_per_step_j: float | None = None
    low_per_step_j: float | None = None
    high_per_step_j: float | None = None
    training_steps: int = 0  # of `mean_per_step_j`
    steps: int = 0  # steps whose own energy is known
    covered_ratio: float | None = None  # share of the training in which readings tell the energy


def run_energy(data: RunSeries) -> list[DeviceEnergy]:
    """Return the energy of every device that tells it."""
    found = ((device, _joules(device)) for device in one_by_one(data.devices.values()))
    return [_device_energy(data, device, *known) for device, known in found if known is not None]


def _device_energy(
    data: RunSeries, device: Device, source: str, start_ns: Floats, end_ns: Floats, joules: Floats
) -> DeviceEnergy:
    total = float(joules.sum())
    if not data.step_time_ns.size:
        return DeviceEnergy(device.name, source, total)
    begins, ends, counts = logged_entries(data)
    first, last = float(begins.min()), float(ends.max())
    inside = np.clip(np.minimum(end_ns, last) - np.maximum(start_ns, first), 0, None)
    covered = float(inside.sum()) / (last - first) if last > first else math.nan
    training = float((joules * inside / (end_ns - start_ns)).sum()) if covered > 0 else None
    whole = _is_whole(begins, ends, start_ns, end_ns) & (counts > 0)
    steps = _between(begins, ends, start_ns, end_ns, joules)[whole] / counts[whole]
    low, high = np.quantile(steps, [0.05, 0.95]).tolist() if steps.size >= 20 else (None, None)
    return DeviceEnergy(
        device=device.name,
        source=source,
        total_j=total,
        training_j=training,
        mean_per_step_j=None if training is None or not counts.sum() else training / float(counts.sum()),
        low_per_step_j=low,
        high_per_step_j=high,
        training_steps=round(float(counts.sum())),
        steps=round(float(counts[whole].sum())),
        covered_ratio=covered if math.isfinite(covered) else None,
    )


def _joules(device: Device) -> Joules | None:
    return joules_between(device.time_ns, device.signal("energy_j"), device.signal("power_w"))


def logged_entries(data: RunSeries) -> tuple[Floats, Floats, Floats]:
    """Return when the steps of each entry of the log began and ended, ns, and how many they are.

    Where it is not known how long a step took, or an entry is of several, it begins when the last one ended.
    The first entry of a log without step times begins nowhere: it has no step in the time that is known.
    """
    ends = data.step_time_ns.astype(np.float64)
    jumps = np.diff(data.training("step"), prepend=math.nan)
    durations = data.training("step_time_s")
    previous = np.append(ends[:1], ends[:-1])
    begins: Floats = np.where(np.isfinite(durations) & ~(jumps > 1), ends - durations * 1e9, previous)
    usual = float(np.median(jumps[jumps > 0])) if (jumps > 0).any() else 1.0
    counts: Floats = np.where(jumps < 0, usual, np.where(np.isfinite(jumps), jumps, 1.0))
    counts[:1] = np.isfinite(durations[:1])
    return begins, ends, counts


def _is_whole(begins: Floats, ends: Floats, start_ns: Floats, end_ns: Floats) -> Mask:
    """Return which entries have a duration that readings cover wholly."""
    known = _between(begins, ends, start_ns, end_ns, end_ns - start_ns)
    return (known >= (ends - begins) * (1 - 1e-9)) & (ends > begins)


def _between(begins: Floats, ends: Floats, start_ns: Floats, end_ns: Floats, amounts: Floats) -> Floats:
    """Return how much of the amounts of intervals between readings lies between each begin and end."""
    edges = np.unique(np.concatenate([start_ns, end_ns]))
    spent = np.zeros(edges.size)
    spent[np.searchsorted(edges, end_ns)] = amounts
    total = np.cumsum(spent)
    return np.interp(ends, edges, total) - np.interp(begins, edges, total)


def energy_doubt(data: RunSeries, energy: DeviceEnergy) -> str:
    """Return what the run's facts doubt of the power behind an energy; may be empty."""
    return "" if energy.source == COUNTER else data.devices[energy.device].doubt("power_w")
