"""Outcomes against hot and cool blocks, and against all other draws of the coins."""

import itertools

import numpy as np
import pytest
from scipy.signal import lfilter
from thermograd.analysis.experiment.heat.blocks import blocks_of
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.heat.whitening import whitened
from thermograd.analysis.experiment.switchback import analyze_switchback


def layout(coins, block_steps=40, step_s=0.5, duty=0.6, lead=10):
    """Return time, hot and pair of a switchback; coins above 0 begin hot; a few steps before and after."""
    first = np.repeat(np.asarray(coins) > 0, block_steps)
    hot = np.stack([first, ~first], axis=-1).reshape(len(coins), block_steps, 2)
    hot = hot.transpose(0, 2, 1).reshape(-1).astype(float)
    hot = np.concatenate([np.full(lead, np.nan), hot, np.full(lead, np.nan)])
    pair = np.full(hot.size, -1)
    pair[lead : hot.size - lead] = np.repeat(np.arange(len(coins)), 2 * block_steps)
    return np.cumsum(np.where(hot == 0.0, step_s / duty, step_s)), hot, pair


def draw(rng, pairs):
    """Return fair coins."""
    return np.where(rng.random(pairs) < 0.5, 1, -1)


def noise(rng, n, phi=0.5):
    """Return AR(1) noise of sd 1 on a falling course, with a few huge spikes."""
    values = lfilter([np.sqrt(1 - phi**2)], [1, -phi], rng.standard_normal(n + 100))[100:]
    values[rng.random(n) < 0.003] += 30.0
    return values + 2.0 * np.exp(-np.arange(n) / n)


def heat_of(hot, memory_steps=20.0):
    """Return heat through a memory, in steps: 1 after long hot, 0 after long cool."""
    kept = np.exp(-1.0 / memory_steps)
    return lfilter([1 - kept], [1, -kept], np.nan_to_num(hot))


def test_every_draw_of_the_coins_has_another_p_and_they_are_uniform():
    outcome = noise(np.random.default_rng(1), 6 * 80 + 20)
    p = []
    for coins in itertools.product((1, -1), repeat=6):
        time, hot, pair = layout(coins)
        (effect,) = analyze_switchback({"y": outcome}, time, hot, pair)
        p.append(effect.p)
    # A draw and the one that turns all pairs around are the same to a two-sided test.
    assert np.sort(p) == pytest.approx(np.repeat(np.arange(1, 33) / 32, 2))


def test_scores_of_pairs_are_those_of_the_slow_and_obvious_way():
    rng = np.random.default_rng(2)
    time, hot, pair = layout(draw(rng, 7), block_steps=100)
    outcome = noise(rng, hot.size)
    outcome[rng.random(hot.size) < 0.1] = np.nan
    outcome[pair < 0] = np.nan
    blocks, clean = blocks_of(time, hot, pair), whitened(outcome, 7)
    weights = clean.weights(clean.innovations)
    memory_steps = 20.0 / blocks.step_s
    for number in range(7):
        alone = np.where(pair == number, np.nan_to_num(hot) - 0.5, 0.0)
        kept = np.exp(-1.0 / memory_steps)
        through = np.zeros(hot.size)
        for step in range(hot.size):
            through[step] = (1 - kept) * alone[step] + (kept * through[step - 1] if step else 0.0)
        seen = through[clean.rows]
        foretold = [clean.memory[row - 3] @ seen[row - 3 : row][::-1] for row in range(3, seen.size)]
        filtered = (seen[3:] - foretold) * clean.calm
        left = filtered - clean.trend @ np.linalg.lstsq(clean.trend, filtered, rcond=None)[0]
        assert blocks.by_pair_through(20.0, weights)[number] == pytest.approx(left @ clean.innovations)
        windowed = np.array([alone[max(step - 7, 0) : step - 2].sum() / 5 for step in range(hot.size)])
        assert blocks.by_pair_between(3, 8, weights)[number] == pytest.approx(
            clean.of(windowed) @ clean.innovations
        )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_effect_is_found_with_its_sign_size_and_response(sign):
    rng = np.random.default_rng(3)
    time, hot, pair = layout(draw(rng, 20), block_steps=80)
    size = sign * 0.8
    outcome = noise(rng, hot.size) + size * heat_of(hot, 30.0)
    outcome[40:44] = [np.nan, np.inf, -np.inf, 1e308]
    (effect,) = analyze_switchback({"y": outcome}, time, hot, pair, units={"y": "nats"})
    assert effect.verdict == "effect"
    assert effect.p_family == effect.p < 0.01
    assert effect.statistic * sign > 0
    assert effect.interval[0] < size < effect.interval[1]
    assert effect.interval[0] < effect.effect < effect.interval[1]
    assert effect.effect == pytest.approx(size, abs=0.3)
    assert effect.effect_sd * effect.response.unit_per_sd == pytest.approx(effect.effect)
    assert effect.unit == effect.response.unit == "nats"
    true = size * (1 - np.exp(-effect.response.lags_s / 0.5 / 30.0))
    assert np.all(effect.response.low_sd * effect.response.unit_per_sd < true)
    assert np.all(true < effect.response.high_sd * effect.response.unit_per_sd)
    assert 0.05 < effect.detectable_sd < 0.8


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held, runs = 0, 60
    for run in range(runs):
        rng = np.random.default_rng([4, run])
        time, hot, pair = layout(draw(rng, 12), duty=1.0)
        outcome = noise(rng, hot.size) + heat_of(hot, 10.0)
        (effect,) = analyze_switchback({"y": outcome}, time, hot, pair, memories_s=(5.0,))
        held += effect.interval[0] <= 1 - np.exp(-4.0) <= effect.interval[1]
    assert held >= 51  # of 60 at .95: fewer in 1 of 500


def test_large_run_without_effect_says_so_and_a_short_one_that_it_does_not_know():
    rng = np.random.default_rng(5)
    time, hot, pair = layout(draw(rng, 60), block_steps=100)
    (effect,) = analyze_switchback({"y": noise(rng, hot.size)}, time, hot, pair)
    assert effect.verdict == "no_effect"
    assert effect.detectable_sd < 0.3
    few = pair < 8
    (effect,) = analyze_switchback({"y": noise(rng, few.sum(), 0.9)}, time[few], hot[few], pair[few])
    assert effect.verdict == "inconclusive"
    assert effect.detectable_sd > 0.3


def test_without_anything_to_say_it_is_insufficient():
    rng = np.random.default_rng(6)
    time, hot, pair = layout(draw(rng, 8))
    outcomes = {
        "constant": np.full(hot.size, 3.0),
        "missing": np.full(hot.size, np.nan),
        "infinite": np.full(hot.size, np.inf),
        "one": np.where(np.arange(hot.size) == 50, 1.0, np.nan),
    }
    for effect in analyze_switchback(outcomes, time, hot, pair):
        assert (effect.verdict, effect.p, effect.interval, effect.response) == (
            "insufficient",
            None,
            None,
            None,
        )
    for pairs in (0, 1, 5):
        few = np.where(pair < pairs, pair, -1)
        (effect,) = analyze_switchback({"y": noise(rng, hot.size)}, time, hot, few)
        assert effect.verdict == "insufficient"


def test_outcome_that_is_missing_in_blocks_of_one_kind_is_insufficient():
    rng = np.random.default_rng(9)
    time, hot, pair = layout(draw(rng, 10))
    outcome = noise(rng, hot.size)
    logged = np.where(np.arange(hot.size) % 4 == 0, outcome, np.nan)  # as rarely in both kinds: nothing lost
    outcomes = {
        "no cool": np.where(hot == 0.0, np.nan, outcome),
        "two pairs": np.where((hot == 0.0) & (pair < 2), np.nan, outcome),
        "five pairs": np.where((hot == 0.0) & (pair < 5), np.nan, outcome),
        "rarely logged": logged,
    }
    none, most, few, rare = analyze_switchback(outcomes, time, hot, pair, sizes=False)
    assert (none.verdict, few.verdict) == ("insufficient", "insufficient")
    assert most.n == 8 * 80
    assert rare.n == 10 * 20


@pytest.mark.parametrize("kind", ["rounded", "rounded and noisy", "rare"])
def test_coarse_and_rare_outcomes_keep_what_they_tell(kind):
    rng = np.random.default_rng(10)
    time, hot, pair = layout(draw(rng, 15), block_steps=100)
    heat = heat_of(hot, 10.0)
    if kind == "rare":
        outcome, true = (rng.random(hot.size) < 0.02 + 0.06 * heat).astype(float), 0.06
    else:
        outcome, true = np.round(0.3 * (rng.standard_normal(hot.size) + heat)), 0.25
        outcome += 1e-3 * rng.standard_normal(hot.size) * ("noisy" in kind)
    (effect,) = analyze_switchback({"y": outcome}, time, hot, pair)
    assert effect.verdict == "effect"
    assert effect.interval[0] < true < effect.interval[1]
    assert effect.effect == pytest.approx(true, rel=0.4)
    assert effect.effect / effect.effect_sd == pytest.approx(outcome[pair >= 0].std(), rel=0.15)


def test_interval_holds_a_large_effect_through_a_memory_that_is_not_tested_and_sd_is_without_it():
    held, sizes = 0, []
    for run in range(12):
        rng = np.random.default_rng([11, run])
        time, hot, pair = layout(draw(rng, 12), block_steps=60, duty=1.0)
        outcome = rng.standard_normal(hot.size) + 3.0 * heat_of(hot, 160.0)
        (effect,) = analyze_switchback({"y": outcome}, time, hot, pair, memories_s=(5.0, 20.0, 60.0))
        true = 3.0 * (1.0 - np.exp(-60 / 160.0))
        held += effect.interval[0] <= true <= effect.interval[1]
        sizes.append(effect.effect / effect.effect_sd)
    assert held >= 10  # of 12 at .95: fewer in 1 of 50
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.03)


def test_smallest_effect_counts_the_family_and_the_memory():
    rng = np.random.default_rng(12)
    time, hot, pair = layout(draw(rng, 15), block_steps=80)
    many = {f"y{at}": noise(rng, hot.size) for at in range(6)}
    first = {"y0": many["y0"]}
    (alone,) = analyze_switchback(first, time, hot, pair)
    shared = analyze_switchback(many, time, hot, pair)[0]
    assert 1.1 < shared.detectable_sd / alone.detectable_sd < 1.6
    known = [analyze_switchback(first, time, hot, pair, tau_s=tau_s)[0] for tau_s in (5.0, 20.0, 60.0)]
    assert max(each.detectable_sd for each in known) == pytest.approx(alone.detectable_sd, rel=0.1)
    assert min(each.detectable_sd for each in known) < 0.9 * alone.detectable_sd


def test_incomplete_last_pair_is_left_out():
    rng = np.random.default_rng(7)
    time, hot, pair = layout(draw(rng, 8), lead=0)
    outcome = noise(rng, hot.size)
    whole = 7 * 80
    outcome[whole:] += 50.0
    (cut,) = analyze_switchback({"y": outcome[:-10]}, time[:-10], hot[:-10], pair[:-10])
    (kept,) = analyze_switchback({"y": outcome[:whole]}, time[:whole], hot[:whole], pair[:whole])
    assert cut.p == kept.p
    assert cut.n == kept.n == whole


def test_controls_are_a_family_of_their_own():
    rng = np.random.default_rng(8)
    time, hot, pair = layout(draw(rng, 15))
    outcomes = {name: noise(rng, hot.size) for name in ("a", "b", "c")}
    outcomes["step_time_s"] = noise(rng, hot.size) - 3.0 * heat_of(hot)
    *asked, control = analyze_switchback(outcomes, time, hot, pair, controls={"step_time_s"})
    assert control.is_control
    assert control.verdict == "effect"
    assert control.effect < 0
    assert control.p_family == control.p
    assert all(effect.p <= effect.p_family <= min(1.0, 3.5 * effect.p) for effect in asked)
    alone = analyze_switchback({name: outcomes[name] for name in ("a", "b", "c")}, time, hot, pair)
    assert [effect.p_family for effect in asked] == [effect.p_family for effect in alone]


def test_few_pairs_have_all_their_draws_and_many_a_sample():
    assert redrawn_coins(3, 10, 0).tolist() == [[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]]
    many = redrawn_coins(30, 500, 1)
    assert many.shape == (501, 30)
    assert np.all(many[0] == 1)
    assert np.array_equal(many, redrawn_coins(30, 500, 1))
    assert abs(many[1:].mean()) < 0.05


def test_what_cannot_be_is_refused():
    time, hot, pair = layout([1] * 6)
    with pytest.raises(ValueError, match=r"allowed: one, \(steps,\)"):
        analyze_switchback({"y": hot[1:]}, time, hot, pair)
    with pytest.raises(ValueError, match="above 0"):
        analyze_switchback({"y": hot}, time, hot, pair, memories_s=(0.0,))
