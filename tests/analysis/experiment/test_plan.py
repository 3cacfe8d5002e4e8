import numpy as np
import pytest
from scipy.signal import lfilter
from thermograd.analysis.experiment import noise
from thermograd.analysis.experiment.noise import learnt_noise
from thermograd.analysis.experiment.plan import block_length_s, make_plan


@pytest.fixture(scope="module")
def minutes_of_steps():
    rng = np.random.default_rng(1)
    white = 3.0 * rng.normal(size=240)
    return {"loss": white, "log_grad_norm": lfilter([1.0], [1.0, -0.8], rng.normal(size=240))}


@pytest.fixture(scope="module")
def plan(minutes_of_steps):
    return make_plan(
        minutes_of_steps, 1.0, tau_s=20.0, effect_sd=0.5, minutes=(10, 30, 120), units={"loss": "nat"}
    )


def row(plan, minutes, outcome):
    (found,) = (each for each in plan.rows if (each.minutes, each.outcome) == (minutes, outcome))
    return found


def test_longer_experiments_show_smaller_effects_and_too_few_pairs_none(plan):
    assert row(plan, 10, "loss").effect_sd is None
    assert row(plan, 30, "loss").pairs == 15
    assert row(plan, 120, "loss").effect_sd == pytest.approx(row(plan, 30, "loss").effect_sd / 2, rel=0.3)
    assert row(plan, 30, "loss").effect == pytest.approx(plan.sd["loss"] * row(plan, 30, "loss").effect_sd)
    assert plan.sd["loss"] == pytest.approx(3.0, rel=0.15)


def test_a_memory_hides_effects_and_needs_time(plan):
    assert row(plan, 30, "log_grad_norm").effect_sd > 1.5 * row(plan, 30, "loss").effect_sd
    assert plan.needed_minutes["log_grad_norm"] > plan.needed_minutes["loss"] >= 12


def test_plan_is_a_table_for_people_and_plain_values_for_programs(plan):
    told = "\n".join(plan.lines())
    assert "blocks of 60 s (60 steps); thermal time constant 20 s; learnt from 4.0 minutes" in told
    assert "nat)" in told
    assert "nothing" in told
    assert "loss: 0.5 sd needs" in told
    document = plan.to_json()
    assert document["rows"][0] == {
        "minutes": 10.0,
        "pairs": 5,
        "outcome": "loss",
        "effect_sd": None,
        "effect": None,
        "unit": "nat",
    }
    assert document["block_s"] == 60.0


def test_blocks_last_a_minute_and_the_time_constant():
    assert [block_length_s(tau_s) for tau_s in (None, 20.0, 61.0)] == [60.0, 60.0, 65.0]


def test_what_does_not_move_or_is_too_short_makes_no_plan():
    assert make_plan({"loss": np.ones(500)}, 0.5) is None
    assert make_plan({"loss": np.arange(40.0)}, 0.5) is None
    assert make_plan({"loss": np.full(500, np.nan)}, 0.5) is None


def test_a_long_run_is_planned_by_its_latest_values_with_their_trend(monkeypatch):
    monkeypatch.setattr(noise, "MOST", 240)
    rng = np.random.default_rng(3)
    values = lfilter([1.0], [1.0, -0.9], rng.normal(size=4800))
    long = make_plan({"loss": values}, 1.0, minutes=(60,))
    assert long == make_plan({"loss": values[-240:]}, 1.0, minutes=(60,))
    assert long.learnt_s == 240.0


def test_what_is_logged_every_tenth_step_says_as_much_as_steps_ten_times_as_long():
    every = np.random.default_rng(4).normal(size=240)
    sparse = np.full(2400, np.nan)
    sparse[9::10] = every
    plan, same = (
        make_plan({"loss": sparse}, 0.1, minutes=(60,)),
        make_plan({"loss": every}, 1.0, minutes=(60,)),
    )
    assert (plan.block_steps, plan.learnt_s) == (600, pytest.approx(240.0))
    assert row(plan, 60, "loss").effect_sd == pytest.approx(row(same, 60, "loss").effect_sd, rel=0.05)
    rare = np.where(np.arange(2400) % 20 == 0, np.resize(every, 2400), np.nan)
    assert make_plan({"loss": rare}, 6.0) is None  # blocks of ten steps: most have none


def test_noise_has_the_memory_of_what_it_was_learnt_from_without_its_trend_and_spikes():
    rng = np.random.default_rng(2)
    values = lfilter([1.0], [1.0, -0.9], rng.normal(size=600)) + np.linspace(0.0, 40.0, 600)
    values[300] = 1e6
    learnt = learnt_noise(values, 0, 12, rng)
    again = np.array([world.simulate(rng, 4000) for world in learnt.worlds])
    memory = [np.corrcoef(each[1:], each[:-1])[0, 1] for each in again]
    assert learnt.sd < 10.0
    assert np.median(memory) == pytest.approx(0.9, abs=0.06)
