import json
from types import SimpleNamespace

import numpy as np
import pytest
from series_in_memory import series_of
from thermograd.analysis.run import experiment_plan
from thermograd.analysis.run.experiment_plan import plan_for_run
from thermograd.store.errors import NotEnoughDataError

MINUTE = np.arange(0.0, 60.0)
RUN = SimpleNamespace(run_id="a-run")


@pytest.fixture
def planned(monkeypatch):
    def plan(steps, values, probe=(), at=MINUTE, readings=None, **asked):
        data = series_of(steps, values, at, readings or {"temperature_c": np.full(at.size, 60.0)})
        data.marks.extend({"mark": "note", "detail": json.dumps({"experiment_probe": p})} for p in probe)
        monkeypatch.setattr(experiment_plan, "load_series", lambda run: data)
        return plan_for_run(RUN, **asked)

    return plan


def test_plan_counts_the_steps_of_a_hot_block_and_the_time_of_both(planned):
    rng = np.random.default_rng(0)
    apart = np.where(np.arange(141) <= 80, 1.0, 1.5)  # from the 81st on cool
    probe = [
        {"level": "hot", "first_step": 21, "last_step": 80},
        {"level": "cool", "first_step": 81, "last_step": 140},
    ]
    plan = planned(np.cumsum(apart), {"grad_norm": rng.lognormal(0, 0.2, 141)}, probe, minutes=60)
    assert (plan.block_s, plan.block_steps, plan.step_s) == (60.0, 60, pytest.approx(1.25))
    assert [(each.outcome, each.pairs) for each in plan.rows] == [("log_grad_norm", 24)]
    assert plan.sd["log_grad_norm"] == pytest.approx(0.2, rel=0.2)
    assert plan.notes == ["No step of the load shows the thermal time constant: blocks last a minute."]


def test_a_users_own_block_is_planned_for_and_one_shorter_than_the_heat_is_said(planned, monkeypatch):
    slow = [SimpleNamespace(tau_s=80.0)]
    monkeypatch.setattr(experiment_plan, "time_constants_s", lambda data, device: slow)
    values = {"loss": np.random.default_rng(0).normal(size=141)}
    own = planned(np.arange(141.0), values, minutes=60, block_s=30.0)
    assert (own.block_s, own.block_steps, own.tau_s) == (30.0, 30, 80.0)
    assert any("30 s, as asked for, are shorter than the thermal" in note for note in own.notes)
    assert any("The plan's own would be of 80 s." in note for note in own.notes)


def test_fast_steps_with_a_loss_in_every_tenth_are_planned_by_as_they_are_logged(planned):
    at = np.arange(1500)
    loss = np.where(at % 10 == 0, np.random.default_rng(0).normal(size=1500), np.nan)
    plan = planned(at / 60.0, {"loss": loss}, minutes=60)
    assert (plan.block_steps, [each.pairs for each in plan.rows]) == (3600, [22])
    assert plan.sd["loss"] == pytest.approx(2**-0.5, rel=0.25)  # two of them taken together
    assert plan.learnt_s == pytest.approx(1479 * plan.step_s, rel=0.02)


def test_pulses_are_planned_by_what_the_sensors_do_in_bins_of_steps(planned):
    rng = np.random.default_rng(0)
    loss = {"loss": np.ones(201)}
    watts = {"power_w": 200.0 + rng.normal(size=400), "temperature_c": np.full(400, 60.0)}
    plan = planned(np.arange(201.0), loss, at=np.arange(400) / 2, readings=watts, arm="shadow", minutes=40)
    assert (plan.design, plan.bin_s, plan.bin_steps, plan.block_s) == ("pulses", 1.0, 1, None)
    assert [(each.outcome, each.pairs, each.unit) for each in plan.rows] == [("power_w", 120, "W")]
    assert "Asked is what noise does more than zeros." in plan.notes
    assert plan.lines()[0].startswith("a pulse in every 20 bins of 1 s (1 steps); learnt from 3.0 minutes")
    with pytest.raises(NotEnoughDataError, match="a-run has 18 bins of 10 s after its first steps"):
        planned(np.arange(201.0), loss, at=np.arange(400) / 2, readings=watts, arm="lr", bin_s=10.0)


def test_what_no_plan_can_be_made_of_is_said_in_a_sentence(planned):
    for values in ({"loss": np.ones(10)}, {"step_time_s": np.ones(10)}):
        with pytest.raises(NotEnoughDataError, match="a-run has 0 steps with a loss or norm after its first"):
            planned(np.arange(10.0), values)
    with pytest.raises(NotEnoughDataError, match="a-run has 20 steps with a loss or norm after its first"):
        planned(np.arange(40.0), {"loss": np.ones(40)})
    with pytest.raises(NotEnoughDataError, match="neither loss nor norm of a-run moves"):
        planned(np.arange(200.0), {"loss": np.ones(200)})
    fast = np.arange(363) / 60.0
    with pytest.raises(NotEnoughDataError, match="has 343 steps .* after its first in 6 s; a plan needs 900"):
        planned(fast, {"loss": np.ones(363)})
    with pytest.raises(NotEnoughDataError, match="no sensor of temperature, .* of a-run moves"):
        planned(np.arange(200.0), {"loss": np.ones(200)}, arm="shadow")
