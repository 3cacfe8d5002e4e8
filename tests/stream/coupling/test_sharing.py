"""Monitors that share learn at once what each would have learnt alone."""

import math
import pickle

import numpy as np
import pytest
from thermograd.stream.coupling.bets import Row
from thermograd.stream.coupling.detector import CouplingMonitor

DEVICES, TICKS = 4, 700


def ticks(seed=0):
    """By tick and device: x, two sensors, a driver, phase; the first device is coupled, much is missing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(TICKS, DEVICES, 3)).cumsum(axis=0) * 0.1 + rng.normal(size=(TICKS, DEVICES, 3))
    values[4:, 0, 1] += values[:-4, 0, 0]
    values[rng.random(values.shape) < 0.03] *= 40.0
    values[rng.random(values.shape) < 0.03] = math.nan
    values[:, 2, 2] = 7.0  # never moves
    values[100:160, 1], values[300:340, :, 0] = math.nan, math.inf
    drivers = rng.normal(size=(TICKS, DEVICES, 1))
    return [
        [
            Row(x.tolist(), d.tolist(), tick / 90 if at == 3 else math.nan)
            for at, (x, d) in enumerate(zip(*of, strict=True))
        ]
        for tick, of in enumerate(zip(values, drivers, strict=True))
    ]


def monitor():
    return CouplingMonitor(1, alarm_ticks=50.0, warmup_ticks=60, sensors=2)


def look(each):
    """Everything a monitor tells, every bit of it."""
    arrays = (each.e_values, each.run_e_values, each.excess, each.seen, [each.standing, each.begun])
    counts = (each.detected, each.alarms, each.withheld, each.e_value, each.of(0), each.of(1))
    return [np.asarray(array).tobytes() for array in arrays], repr(counts)


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_what_is_shared_equals_what_is_learnt_alone_to_the_last_bit(absent):
    rng, alone, together = np.random.default_rng(1), [monitor() for _ in range(DEVICES)], [monitor()]
    for tick, rows in enumerate(ticks()):
        if tick % 40 == 0 and len(together) < DEVICES:  # they come one by one
            together.append(monitor())
            together[-1].share(together[0])
        if tick == 500:
            together = pickle.loads(pickle.dumps(together))
        there = [at for at in range(len(together)) if rng.random() >= absent]
        for at in there:
            (x, *ys), drivers, phase = rows[at]
            alone[at].update(x, ys, drivers, phase)
        if there:
            CouplingMonitor.update_all((together[at], rows[at]) for at in reversed(there))
        if tick % 23 == 0 or tick == TICKS - 1:
            assert [look(each) for each in together] == [look(each) for each in alone[: len(together)]]
    assert max(each.alarms for each in alone) > 0


def test_only_monitors_of_the_same_parameters_share():
    with pytest.raises(ValueError, match="same parameters"):
        monitor().share(CouplingMonitor(1, alarm_ticks=60.0, sensors=2))
