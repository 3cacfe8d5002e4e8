import math

import numpy as np
import pytest
from thermograd.analysis.calibration.processes import ar
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.stream.coupling.cycles import Cycle
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.join.coupling_alerts import CouplingRule
from thermograd.stream.join.grid_ticks import Tick
from thermograd.stream.settings import CouplingSettings

NAN = math.nan


def watched(x, y, period):
    """Return the monitor and the ticks of its alarms; without a period no epoch is told."""
    monitor, alarms = CouplingMonitor(), []
    for tick, pair in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        monitor.update(*pair, phase=tick % period / period if period else NAN)
        if monitor.detected:
            alarms.append(tick)
    return monitor, alarms


@pytest.mark.parametrize(("name", "period"), [("cycle24", 24), ("period", 25), ("cycle24-held", 24)])
def test_a_logged_epoch_leaves_nothing_for_the_controls_to_tax(name, period):
    pair = ZOO[name].make(np.random.default_rng(1), 5000)
    told, alarms = watched(pair.x, pair.y, period)
    untold, _ = watched(pair.x, pair.y, None)
    assert alarms == []
    assert told.excess[0] < 0.3
    assert untold.excess[0] > 2.0
    assert told.run_e_value < 20.0


def test_a_coupling_under_a_rhythm_is_found_where_the_epoch_is_logged():
    rng = np.random.default_rng(2)
    pair = ZOO["cycle24"].make(rng, 4000)
    new = rng.standard_normal(4000)
    x, y = pair.x + new, pair.y + 1.5 * np.roll(new, 5)
    _, found = watched(x, y, 24)
    assert found[0] < 1500


def test_the_pattern_of_a_cycle_is_taken_off_and_nothing_else():
    cycle, pattern = Cycle(2), np.random.default_rng(3).uniform(-0.5, 0.5, (10, 2))
    for _ in range(60):
        left = np.array([cycle.less(pattern[at], at / 10) for at in range(10)])
    np.testing.assert_array_less(np.abs(left), 0.12 * np.abs(pattern) + 1e-12)
    assert cycle.less(np.array([0.3, 0.0]), NAN).tolist() == [0.3, 0.0]
    assert cycle.less(np.array([0.3, 0.0]), 0.1)[1] == 0.0  # where nothing is known, nothing is new


def test_a_phase_that_says_nothing_costs_next_to_nothing():
    pair = ar(np.random.default_rng(4), 3000)
    without, with_phase = watched(pair.x, pair.y, None)[0], watched(pair.x, pair.y, 24)[0]
    assert with_phase.excess[0] < 0.1
    assert without.excess[0] < 0.1


def test_the_rule_gives_the_epoch_of_the_steps_to_its_monitor():
    pair = ZOO["cycle24"].make(np.random.default_rng(5), 3000)
    rules = [CouplingRule("gpu", 1, CouplingSettings()) for _ in range(2)]
    for at, (x, y) in enumerate(zip(pair.x.tolist(), pair.y.tolist(), strict=True)):
        for rule, epoch in zip(rules, (3.0 + at / 24, NAN), strict=True):
            rule.update(Tick("gpu", x, (y, NAN, NAN, NAN), (NAN, NAN, NAN), None, at, epoch))
    told, untold = (rule.pairs()["temperature_c"] for rule in rules)
    assert told.excess < 0.3
    assert untold.excess > 2.0
