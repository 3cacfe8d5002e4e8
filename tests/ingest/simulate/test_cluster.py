"""A simulated job on several hosts: its clocks are wrong by what its facts say, and by nothing else."""

import numpy as np
import pyarrow.compute as pc
import pytest
from thermograd.ingest.simulate.cluster import Cluster, simulate_cluster
from thermograd.store.log.reader import read_kind

SMALL = Cluster(hosts=3, ranks=6, steps=60, clock_step_s=0.5, lateness_s=0.001, seed=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate_cluster(tmp_path_factory.mktemp("runs"), SMALL, end_ns=1_800_000_000 * 10**9)


def error_s(clock, true_s):
    after = true_s >= clock.get("set_at_s", np.inf)
    return clock["offset_s"] + 1e-6 * clock["drift_ppm"] * true_s + clock.get("set_by_s", 0.0) * after


def test_step_ends_agree_once_each_clock_is_set_right(run):
    """All ranks end a step together, so what is left of a clock's error is the ranks' lateness."""
    steps, truth = read_kind(run.path, "step"), run.facts["truth"]
    ends = []
    for rank in range(SMALL.ranks):
        mine = steps.filter(pc.equal(steps["rank"], rank)).sort_by("step")
        wall_s = (np.asarray(mine["time_ns"]) - run.facts["started_time_ns"]) / 1e9
        clock = truth["clocks"][SMALL.host_of(rank)]
        ends.append(wall_s - error_s(clock, wall_s))
    spread_s = np.ptp(np.array(ends), axis=0)
    assert 0 < np.median(spread_s) < 0.01
    assert np.ptp([clock["offset_s"] for clock in truth["clocks"]]) > 0.02


def test_a_clock_that_is_set_moves_the_wall_time_and_not_the_monotonic_one(run):
    steps = read_kind(run.path, "step")
    last = steps.filter(pc.equal(steps["rank"], SMALL.ranks - 1)).sort_by("step")
    apart = np.asarray(last["time_ns"]) - np.asarray(last["monotonic_ns"])
    assert np.diff(apart).max() == pytest.approx(0.5e9, rel=0.01)
    first = steps.filter(pc.equal(steps["rank"], 0)).sort_by("step")
    assert np.ptp(np.asarray(first["time_ns"]) - np.asarray(first["monotonic_ns"])) < 1e6


def test_the_run_is_simulated_and_each_device_has_its_host(run):
    devices = run.facts["devices"]
    assert run.state() == "simulated"
    assert {facts["host"] for facts in devices.values()} == {"node-0", "node-1", "node-2"}
    assert set(read_kind(run.path, "sample")["device"].to_pylist()) == set(devices)


def test_impossible_clusters_are_refused():
    with pytest.raises(ValueError, match="allowed: 1 <= hosts <= ranks"):
        Cluster(hosts=9, ranks=8)
    with pytest.raises(ValueError, match="allowed: steps from 2"):
        Cluster(steps=1)
