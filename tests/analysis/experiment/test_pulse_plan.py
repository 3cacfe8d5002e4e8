import numpy as np
import pytest
from scipy.signal import lfilter
from thermograd.analysis.experiment import noise
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.pulse.cleaning import cleaned, slow_course
from thermograd.analysis.experiment.pulse.response import searched, shapes
from thermograd.analysis.experiment.pulse.scores import Places, complete_strata
from thermograd.analysis.experiment.pulse_plan import make_pulse_plan


def watts(rng, size):
    return lfilter([1.0], [1.0, -0.8], rng.normal(size=size + 200))[200:]


@pytest.fixture(scope="module")
def plan():
    rng = np.random.default_rng(1)
    signals = {"power_w": watts(rng, 240), "temperature_c": np.full(240, 60.0)}
    return make_pulse_plan(signals, 0.5, bin_steps=2, family=1, minutes=(3, 20, 80), units={"power_w": "W"})


def test_more_pulses_show_smaller_responses_and_too_few_none(plan):
    few, some, many = plan.rows
    assert (few.pairs, few.effect_sd) == (9, None)
    assert (some.pairs, many.pairs) == (60, 240)
    assert many.effect_sd == pytest.approx(some.effect_sd / 2, rel=0.15)
    assert some.effect == pytest.approx(some.effect_sd * plan.sd["power_w"])
    assert list(plan.sd) == ["power_w"]
    assert "minutes  pulses" in "\n".join(plan.lines())
    assert plan.to_json()["bin_s"] == 1.0


def test_a_long_run_is_planned_by_its_latest_bins_with_their_trend(monkeypatch):
    monkeypatch.setattr(noise, "MOST", 240)
    values = watts(np.random.default_rng(2), 4800)
    long, latest = (
        make_pulse_plan({"power_w": each}, 0.5, bin_steps=2, minutes=(20,))
        for each in (values, values[-240:])
    )
    assert long == latest
    assert long.learnt_s == 240.0


def test_what_two_kinds_differ_by_takes_longer(plan):
    signals = {"power_w": watts(np.random.default_rng(1), 240)}
    size = plan.rows[1].effect_sd
    again = make_pulse_plan(signals, 0.5, bin_steps=2, kinds=2, family=2, effect_sd=size, minutes=(20,))
    assert again.needed_minutes["power_w"] > 3 * 20
    assert again.rows[0].effect_sd > 1.7 * size


def test_the_response_that_is_promised_is_found_about_as_often(plan):
    rng = np.random.default_rng(2)
    fading, looked, found = np.exp(-np.arange(60) / 10.0), shapes(11), []
    for size in (plan.rows[1].effect, 0.4 * plan.rows[1].effect):
        for _ in range(30):
            strata = complete_strata(np.repeat(np.arange(60), 20), rng.integers(9, size=60), 9, 10)
            values = watts(rng, 1200) + strata.response(1200, size * fading)
            test = searched(Places(strata, 199, rng), cleaned(values, slow_course(1200)), looked)
            found.append(randomisation_p(test.statistic, test.redrawn) <= 0.05)
    assert sum(found[30:]) < 12 < 19 <= sum(found[:30])
