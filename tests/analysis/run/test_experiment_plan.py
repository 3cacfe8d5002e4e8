import json
from types import SimpleNamespace

import numpy as np
import pytest
from series_in_memory import series_of
from thermograd.analysis.run import experiment_plan
from thermograd.analysis.run.experiment_plan import plan_for_run
from thermograd.store.errors import NotEnoughDataError

RUN = SimpleNamespace(run_id="a-run")


@pytest.fixture
def planned(monkeypatch):
    def plan(steps, values, probe=(), **asked):
        at = np.arange(0.0, 60.0)
        data = series_of(steps, values, at, {"temperature_c": np.full(at.size, 60.0)})
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


def test_what_no_plan_can_be_made_of_is_said_in_a_sentence(planned):
    with pytest.raises(NotEnoughDataError, match="a-run has 20 steps with a loss or norm after its first"):
        planned(np.arange(40.0), {"loss": np.ones(40)})
    with pytest.raises(NotEnoughDataError, match="neither loss nor norm of a-run moves"):
        planned(np.arange(200.0), {"loss": np.ones(200)})
    with pytest.raises(NotEnoughDataError, match="arm shadow are of pulses"):
        planned(np.arange(200.0), {"loss": np.ones(200)}, arm="shadow")
