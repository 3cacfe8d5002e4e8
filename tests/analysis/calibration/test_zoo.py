"""The processes repeat by seed, are what they say, and hold the truth that they state."""

import numpy as np
import pytest
import scipy.stats
from thermograd.analysis.arrays import shifted
from thermograd.analysis.calibration.calibrate import CHOSEN, calibrate
from thermograd.analysis.calibration.zoo import ZOO, Pair, coupled, null, nulls, process_named, to_grid
from thermograd.analysis.calibration.zoo.signals import autoregressive, standardised
from thermograd.analysis.coupling.cleaning.residuals import trend_basis, trend_order
from thermograd.analysis.report.calibration_report import calibration_text
from thermograd.store.errors import ScenarioError

# A load drives both, or one moves the other by way of the step time, which a test is told of.
INDEPENDENT = sorted(set(nulls()) - {"driver", "through-step-time", "behind-step-time"})
IRREGULAR = [name for name, process in ZOO.items() if process.record is not None]


@pytest.mark.parametrize("name", ZOO)
def test_a_seed_gives_the_same_series_of_the_length_asked_for(name):
    for m in (60, 75, 400):
        assert_a_seed_gives_the_same_series(name, m)


def assert_a_seed_gives_the_same_series(name, m):
    first, again, other = (ZOO[name].make(np.random.default_rng(seed), m) for seed in (4, 4, 5))
    assert first.x.shape == first.y.shape
    if name not in IRREGULAR:
        assert first.x.shape == (m,)
    drivers = first.all_drivers()
    if drivers is not None:
        assert len(drivers) == len(first.x)
        assert np.isfinite(drivers[np.isfinite(first.x)]).all()
    assert first.x.tobytes() == again.x.tobytes()
    assert first.y.tobytes() == again.y.tobytes()
    assert first.x.tobytes() != other.x.tobytes()
    assert first.y.tobytes() != other.y.tobytes()
    there = np.isfinite(first.x) & np.isfinite(first.y)
    assert there.mean() > 0.4
    assert not np.isinf(first.x).any()
    assert not np.isinf(first.y).any()


def test_each_says_what_it_is_in_one_line():
    for name, process in ZOO.items():
        assert_says_what_it_is_in_one_line(name, process)


def assert_says_what_it_is_in_one_line(name, process):
    assert process.name == name
    assert 10 < len(process.about) <= 120
    assert not process.about.endswith(".")
    assert process.about.split(":")[0] not in [ZOO[o].about.split(":")[0] for o in ZOO if o != name]
    truths = (process.rho, process.lag_s, process.memory_s)
    assert (truths == (None, None, None)) == (process.response in (None, "once"))


def test_none_is_counted_twice_and_one_event_is_neither():
    assert not set(nulls()) & set(coupled())
    assert set(ZOO) - set(nulls()) - set(coupled()) == {"shared-kink"}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_nulls_are_independent_by_construction(name):
    """Over many seeds x at one time tells nothing of y at any: whatever one run looks like."""
    draws, m = 250, 60
    pairs = [ZOO[name].make(np.random.default_rng([seed, 8]), m) for seed in range(draws)]
    size = min(pair.x.size for pair in pairs)
    x, y = np.array([pair.x[:size] for pair in pairs]), np.array([pair.y[:size] for pair in pairs])
    third, middle = size // 3, size // 2
    for at_x, at_y in ((third, third), (middle, middle + 5), (size - 7, size - 3), (middle, third)):
        there = np.isfinite(x[:, at_x]) & np.isfinite(y[:, at_y])
        rank = scipy.stats.spearmanr(x[there, at_x], y[there, at_y]).statistic
        assert abs(rank) < 4 / np.sqrt(there.sum())


def test_what_is_not_independent_would_be_noticed():
    for name in ("driver", "shared-kink", "cont .5", "slow30-noise.5"):
        pairs = [ZOO[name].make(np.random.default_rng([seed, 8]), 60) for seed in range(250)]
        lag = ZOO[name].lag_s or 0
        rank = scipy.stats.spearmanr([p.x[30] for p in pairs], [p.y[30 + lag] for p in pairs]).statistic
        assert abs(rank) > (4 / np.sqrt(250) if name in ("driver", "cont .5") else 0.1)


# The truth that couplings state


def innovations(values, phi):
    return values - phi * shifted(values, -1)


def correlation(x, y):
    there = np.isfinite(x) & np.isfinite(y)
    return np.corrcoef(x[there], y[there])[0, 1]


def measured(name, of, seeds=30, m=1500):
    return np.mean([of(ZOO[name].make(np.random.default_rng(seed), m)) for seed in range(seeds)])


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        *((name, 0.9) for name in ("cont .1", "cont .2", "cont .3", "cont .5", "lead", "lag20")),
        *((name, 0.9) for name in ("missing15", "missing-bursts", "heavy-tails")),
        *((name, 0.5) for name in ("burst.3", "bursts.3")),
    ],
)
def test_innovations_correlate_as_stated_at_the_stated_lag(name, phi):
    truth = ZOO[name]

    def found(pair):
        return correlation(innovations(pair.x, phi), shifted(innovations(pair.y, phi), truth.lag_s))

    assert measured(name, found) == pytest.approx(truth.rho, abs=0.03)


@pytest.mark.parametrize(
    ("name", "sd", "attenuated"),
    [("degrees.2", 0.5, 1 / np.sqrt(1 + 4 / 12)), ("degrees.3", 0.5, 1 / np.sqrt(1 + 4 / 12))],
)
def test_whole_degrees_weaken_the_correlation_of_what_is_shown(name, sd, attenuated):
    truth = ZOO[name]
    found = measured(name, lambda pair: correlation(pair.x, shifted(pair.y, truth.lag_s)))
    assert found == pytest.approx(truth.rho * attenuated, abs=0.04)


def test_sensor_noise_as_large_as_the_signal_leaves_half_of_its_variance():
    found = measured("noisy-sensor", lambda pair: correlation(pair.x, shifted(pair.y, 5)))
    assert found == pytest.approx(0.3 / np.sqrt(2), abs=0.05)


def detrended(values):
    trend = trend_basis(values.size, trend_order(values.size))
    return values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0]


@pytest.mark.parametrize("name", ["slow10-trends", "slow30-trends", "slow60-trends"])
def test_a_slow_answer_correlates_as_stated_once_the_trends_are_out(name):
    truth = ZOO[name]

    def found(pair):
        kept = np.exp(-1 / truth.memory_s)
        response = detrended(autoregressive(detrended(pair.x), kept))
        return correlation(response[200:], detrended(pair.y)[200:])

    assert measured(name, found) == pytest.approx(truth.rho, abs=0.03)


@pytest.mark.parametrize("name", ["slow30-noise.3", "slow30-noise.5", "cooling30", "slow20-gaps"])
def test_a_slow_answer_under_noise_correlates_as_stated(name):
    truth = ZOO[name]

    def found(pair):
        response = autoregressive(np.nan_to_num(pair.x), np.exp(-1 / truth.memory_s))
        return correlation(response[200:], pair.y[200:])

    lost = np.sqrt(0.85) if "gaps" in name else 1.0  # of the response, with the bins of x that are missing
    assert measured(name, found) == pytest.approx(truth.rho * lost, abs=0.03)


def at_five_seconds(pair):
    return correlation(innovations(pair.x, 0.7), shifted(innovations(pair.y, 0.7), 5))


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("size-only", np.abs),
        ("threshold", lambda innovation: (innovation - 1.0).clip(0.0)),
        ("sign-change", lambda innovation: innovation * np.where(np.arange(innovation.size) < 750, 1, -1)),
    ],
)
def test_what_is_answered_otherwise_is_answered_as_stated(name, answered):
    truth = ZOO[name]

    def found(pair):
        x, y = innovations(pair.x, 0.7), innovations(pair.y, 0.7)
        return correlation(answered(x), shifted(y, truth.lag_s))

    assert measured(name, found) == pytest.approx(truth.rho, abs=0.03)
    if name != "threshold":
        assert measured(name, at_five_seconds) == pytest.approx(0.0, abs=0.03)


def without_pattern(values, length):
    phase = np.arange(values.size) % length
    return values - (np.bincount(phase, values) / np.bincount(phase))[phase]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("cycle24-coupled", lambda pair: [without_pattern(values, 24) for values in pair[:2]]),
        ("boxcar20-coupled", lambda pair: pair[:2]),
        ("memswitch-coupled", lambda pair: [values[:750] for values in pair[:2]]),
        ("pulses20-coupled", lambda pair: [without_pattern(values, 20) for values in pair[:2]]),
    ],
)
def test_a_coupling_under_a_disguise_is_as_stated(name, seen):
    def found(pair):
        x, y = seen(pair)
        return correlation(x, shifted(y, ZOO[name].lag_s))

    assert measured(name, found) == pytest.approx(ZOO[name].rho, abs=0.04)


def test_a_coupling_at_irregular_steps_is_as_stated_in_seconds():
    found = []
    for seed in range(30):
        recorded = ZOO["irregular-coupled"].record(np.random.default_rng(seed), 800)
        later_s = np.ceil(recorded.step_time_ns / 1e9).astype(int) + 5
        there = later_s <= recorded.y.size
        found.append(correlation(recorded.x[there], recorded.y[later_s[there] - 1]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_a_coupling_of_a_quarter_holds_there():
    assert measured("quarter", at_five_seconds) == pytest.approx(0.6 / 4, abs=0.03)


# The nulls are what they are called


@pytest.mark.parametrize(("name", "length"), [("cycle24", 24), ("pulses20", 20), ("sawtooth30", 30)])
def test_a_rhythm_repeats(name, length):
    pair = ZOO[name].make(np.random.default_rng(0), 1500)
    for series in (pair.x, pair.y):
        whole, half = (correlation(series, shifted(series, lag)) for lag in (length, length // 2 + 1))
        assert whole > max(0.2, half + 0.15)


@pytest.mark.parametrize(
    ("name", "share"), [("gaps", 0.15), ("trendgaps", 0.15), ("gaps30", 0.3), ("missing15", 0.15)]
)
def test_as_many_bins_are_missing_as_stated(name, share):
    assert measured(name, lambda pair: np.isnan(pair.x).mean()) == pytest.approx(share, abs=0.02)


def test_a_memory_that_changes_keeps_its_variance():
    def halves(pair):
        parts = np.split(pair.x, 2)
        return *(part.std() for part in parts), *(correlation(part[1:], part[:-1]) for part in parts)

    pairs = (ZOO["memswitch"].make(np.random.default_rng(seed), 1500) for seed in range(30))
    early, late, forgets, remembers = np.mean([halves(pair) for pair in pairs], axis=0)
    assert early == pytest.approx(1.0, abs=0.05)
    assert late == pytest.approx(1.0, abs=0.15)
    assert forgets == pytest.approx(0.0, abs=0.05)
    assert remembers == pytest.approx(0.95, abs=0.03)


def test_a_held_sensor_moves_every_five_seconds_only():
    pair = ZOO["held5"].make(np.random.default_rng(0), 400)
    for series in (pair.x, pair.y):
        moved = np.flatnonzero(np.diff(series))
        assert set(moved % 5) == {moved[0] % 5}


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_steps_are_put_on_the_grid_of_the_analysis(name):
    recorded = ZOO[name].record(np.random.default_rng(3), 200)
    assert np.diff(recorded.step_time_ns) / 1e9 == pytest.approx(recorded.step_time_s[1:], abs=1e-6)
    assert np.std(recorded.step_time_s) / np.mean(recorded.step_time_s) > 0.1
    pair, made = to_grid(recorded), ZOO[name].make(np.random.default_rng(3), 200)
    assert pair.x.tobytes() == made.x.tobytes()
    step_time_s = pair.moved[np.isfinite(pair.x), 0]
    assert np.mean(recorded.step_time_s) < np.mean(step_time_s) < np.max(recorded.step_time_s)
    assert np.isfinite(pair.x).mean() > 0.9


# The list


def test_a_second_process_of_one_name_is_refused():
    with pytest.raises(ValueError, match="there is a process 'ar.9' already: two independent series"):
        null("ar.9", "another")(lambda rng, m: Pair(np.zeros(m), np.zeros(m)))


def test_a_process_is_found_by_the_name_that_is_typed():
    assert process_named("cont-.3") is ZOO["cont .3"]
    with pytest.raises(ScenarioError, match="there is no process 'x'; there are: ar.5, ar.9"):
        process_named("x")


def test_calibrate_measures_our_choice_and_leaves_out_what_lies_beyond_the_lags():
    result = calibrate(1, hz=1.0, minutes=1.0, processes=[*CHOSEN, "shared-kink", "size-only"])
    names = {row.name for row in result.nulls} | {row.name for row in result.coupled}
    assert names == {*CHOSEN, "shared-kink", "size-only"}
    slow = calibrate(1, hz=0.25, minutes=10.0, processes=["cont .3", "missing15", "lag20"])
    assert [(row.name, row.true_lag) for row in slow.coupled] == [("cont .3", 3), ("lag20", 20)]


def test_where_the_hardware_leads_it_is_looked_for_there():
    result = calibrate(5, minutes=6.7, processes=["lead", "slow30-noise.5"])
    lead, slow = result.coupled
    assert (lead.true_lag, lead.found >= 4, lead.lag_found >= 4) == (-5, True, True)
    row = next(line for line in calibration_text(result).splitlines() if line.startswith(slow.name))
    assert row.split()[-1] == "–"


def test_standardised_is_zero_where_nothing_moves():
    assert not standardised(np.ones(5)).any()
