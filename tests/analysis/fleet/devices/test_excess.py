"""A bad GPU, host or rack is named; fleets without one are not accused, however uneven they are."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom
from thermograd.analysis.fleet.devices.cells import Cell, Cells, Place, Unit
from thermograd.analysis.fleet.devices.conditional import Strata
from thermograd.analysis.fleet.devices.excess import family_size, judge
from thermograd.benchmarks.device_fleets import GPUS, fleet_cells


def named(cells, asked=None):
    return [s.unit for s in judge({"spike": Cells(cells, asked)}).named]


def strata(events, share, concentration=1e9):
    count = len(events)
    return Strata(np.array(events), np.array(share, float), np.full(count, float(concentration)))


def test_one_stratum_of_independent_events_is_the_binomial():
    of = strata([20], [0.25])
    assert of.at_least(9) == pytest.approx(binom.sf(8, 20, 0.25), rel=1e-9)
    assert of.smallest_p() == pytest.approx(0.25**20, rel=1e-9)
    assert (of.expected(), of.variance()) == (pytest.approx(5), pytest.approx(20 * 0.25 * 0.75))


def test_strata_add_up_as_counted_by_hand():
    """Every way in which the events of three runs can fall to the unit, one by one."""
    counts, shares = [3, 2, 4], [0.5, 0.2, 0.125]
    chances = np.zeros(10)
    for ways in itertools.product(*(range(c + 1) for c in counts)):
        chances[sum(ways)] += math.prod(
            binom.pmf(k, c, s) for k, c, s in zip(ways, counts, shares, strict=True)
        )
    assert strata(counts, shares).distribution() == pytest.approx(chances, abs=1e-14)


def test_bursts_make_the_same_count_less_surprising():
    assert strata([40], [0.25], 20.0).at_least(18) > 5 * strata([40], [0.25]).at_least(18)
    assert strata([40], [0.25], 20.0).distribution().sum() == pytest.approx(1)


def test_the_interval_of_the_rate_ratio_covers_the_truth():
    rng = np.random.default_rng(0)
    of, truth = strata([6, 8, 10, 5, 7] * 4, [0.1, 0.2, 0.125, 0.3, 0.15] * 4), 2.5
    covered = 0
    for _ in range(200):
        observed = int(rng.binomial(of.events, of.shares(truth)).sum())
        low, high = of.ratio_interval(observed)
        covered += low <= truth <= high
    assert covered >= 186  # .95 of 200 less 1.3 standard errors; exact intervals cover at least that


def test_what_is_called_detectable_is_found_nine_times_in_ten():
    rng, alpha = np.random.default_rng(1), 1e-3
    of = strata([8] * 30, [0.125] * 30)
    ratio = of.detectable(alpha)
    found = [of.at_least(int(rng.binomial(of.events, of.shares(ratio)).sum())) <= alpha for _ in range(200)]
    assert 170 <= sum(found) <= 195


def test_nothing_is_detectable_where_there_is_hardly_an_event():
    assert strata([1], [0.5]).detectable(1e-3) is None


def test_tests_that_can_never_reach_the_level_do_not_count():
    assert family_size([1e-9] * 3 + [0.2] * 1000, 0.05) == 3
    assert family_size([], 0.05) == 1


def test_a_bad_gpu_is_named_and_neither_its_host_nor_its_rack():
    found = [named(fleet_cells(seed, 1500, bad=[11], spread=0.1, rack_sd=0)) for seed in range(6)]
    assert found.count([Unit("device", "GPU-11")]) >= 5


def test_a_bad_host_is_named_rather_than_its_gpus():
    found = [named(fleet_cells(seed, 2000, bad=range(8, 16), rack_sd=0)) for seed in range(4)]
    assert found.count([Unit("host", "host1")]) >= 3


def test_a_bad_rack_is_named_rather_than_its_sixteen_gpus():
    found = [named(fleet_cells(seed, 1500, bad=range(16), ratio=2.5, rack_sd=0)) for seed in range(4)]
    assert found.count([Unit("rack", "rack0")]) >= 3


@pytest.mark.parametrize(
    "uneven",
    [{}, {"spread": 1.0, "burst": 4.0}, {"spread": 0, "burst": 1.0}, {"runs": 300, "rack_sd": 0.5}],
    ids=["usual", "bursts", "independent", "few runs, racks differ"],
)
def test_fleets_without_a_bad_gpu_accuse_none(uneven):
    """12 fleets each; measured at most .02 of 200 (benchmarks/fleet_devices.py)."""
    accused = sum(
        any(unit.level != "rack" for unit in named(fleet_cells(seed, **uneven))) for seed in range(20)
    )
    assert accused <= 1


def test_gpus_that_always_ran_together_are_not_told_apart():
    together = tuple(Place(f"GPU-{k}", "host0") for k in range(2))
    other = (Place("GPU-2", "host0"),)
    cells = [Cell(f"a{k}", ("m",), together, 9, 1000.0) for k in range(20)]
    cells += [Cell(f"b{k}", ("m",), other, 2, 1000.0) for k in range(20)]
    judged = judge({"spike": Cells(cells)})
    assert judged.named == []  # a job of two GPUs and one of one are not compared
    cells += [
        Cell(f"c{k}", ("m",), (Place("GPU-3", "host0"), Place("GPU-4", "host0")), 2, 1e3) for k in range(20)
    ]
    (bad,) = judge({"spike": Cells(cells)}).named
    assert bad.unit.name in ("GPU-0", "GPU-1")


def test_one_run_alone_accuses_nobody():
    cells = [Cell(f"r{k}", ("m",), (Place(f"GPU-{k % 8}", "h"),), 1, 1000.0) for k in range(160)]
    cells[3] = Cell("r3", ("m",), cells[3].places, 60, 1000.0)
    assert named(cells) == []


def test_a_model_that_spikes_more_accuses_no_gpu_it_runs_on():
    rng = np.random.default_rng(2)
    cells = []
    for run in range(600):
        gpu = int(rng.integers(8))
        model = "wild" if (gpu == 3 and rng.random() < 0.9) or rng.random() < 0.1 else "calm"
        events = int(rng.poisson(6.0 if model == "wild" else 1.0))
        cells.append(Cell(f"r{run}", (model,), (Place(f"GPU-{gpu}", "h"),), events, 1000.0))
    assert named(cells) == []


def test_only_the_asked_level_is_judged():
    cells = fleet_cells(3, 1500, bad=[11], spread=0.1)
    assert {s.unit.level for s in judge({"spike": Cells(cells, ("host",))}).standings} == {"host"}
    assert len(Cells(cells).level("device").members) == GPUS


def test_nothing_counted_is_nothing_judged():
    judged = judge({})
    assert (judged.named, judged.q_values()) == ([], {})
    assert judge({"spike": Cells([])}).named == []
