"""Lags between the steps of one host and the devices of another, whose clock is wrong and drifts."""

import json

import numpy as np
import pytest
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.readings.data_quality import clock_lines
from thermograd.analysis.run.result import verdict_sentence
from thermograd.analysis.run.series import _less_sure as less_sure, load_series
from thermograd.ingest.simulate.cluster import Cluster, device_name, simulate_cluster
from thermograd.store.clocks.hosts import HostClock
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.reader import read_kind

LAG_S = 3
QUESTION = {"x": "grad_norm", "y": "temperature_c"}


def coupled(analysis):
    return [pair for pair in analysis.pairs if pair.verdict == "coupled"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lags_of_64_ranks_on_8_hosts_are_right_to_one_bin(tmp_path, seed):
    """Offsets to 200 ms, drifts to 50 ppm, and the last host's clock is set in mid-run."""
    job = Cluster(seed=seed, steps=700, rho=0.8, lag_s=LAG_S, clock_step_s=0.15)
    run = simulate_cluster(tmp_path, job)
    series = load_series(run)
    truth = run.facts["truth"]["clocks"]
    for clock in series.clocks.hosts.values():
        ahead_s = truth[int(clock.host[-1])]["offset_s"] - truth[0]["offset_s"]
        assert clock.first_s == pytest.approx(ahead_s, abs=0.005)
    device = series.devices[device_name(job, {1: 17, 2: 40, 3: 63}[seed])]
    (pair,) = coupled(analyze_run(run, **QUESTION, device=device.name, series=series))
    assert abs(pair.lag_s - LAG_S) <= pair.period_s + 1e-3
    low, high = pair.lag_interval_s
    assert high - low == pytest.approx(pair.period_s + 2 * device.clock.unsure_s)
    assert f"the clock of {device.clock.host} was" in pair.reasons[-1]


def test_a_clock_that_is_seconds_wrong_no_longer_moves_the_lag(tmp_path):
    job = Cluster(hosts=2, ranks=2, seed=3, steps=1200, rho=0.8, lag_s=LAG_S, clock_offset_s=30.0)
    run = simulate_cluster(tmp_path, job)
    (pair,) = coupled(analyze_run(run, **QUESTION, device=device_name(job, 1)))
    assert abs(pair.lag_s - LAG_S) <= pair.period_s + 1e-3


def test_a_device_on_the_host_of_the_steps_is_untouched_bit_for_bit(tmp_path):
    job = Cluster(hosts=2, ranks=4, steps=400, rho=0.8)
    run = simulate_cluster(tmp_path, job)
    own = device_name(job, 0)
    across = analyze_run(run, **QUESTION, device=own)
    for facts in run.writers():
        write_json(writer_file(run.path, facts["writer"]), facts | {"boot_id": "one machine"})
    alone = analyze_run(run, **QUESTION, device=own)
    assert json.dumps(across.to_json()["pairs"]) == json.dumps(alone.to_json()["pairs"])
    series = load_series(run)
    assert all(device.clock is None for device in series.devices.values())
    assert {pair.clock_unsure_s for pair in alone.pairs} == {0.0}


def test_independent_trainings_are_not_aligned_and_no_direction_is_claimed(tmp_path):
    job = Cluster(hosts=2, ranks=2, steps=1200, rho=0.9, lag_s=LAG_S, clock_offset_s=0.01, independent=True)
    run = simulate_cluster(tmp_path, job)
    device = device_name(job, 1)
    series = load_series(run)
    raw = read_kind(run.path, "sample")
    mine = np.asarray(raw.filter([name == device for name in raw["device"].to_pylist()])["time_ns"])
    assert np.array_equal(np.sort(mine), series.devices[device].time_ns)
    analysis = analyze_run(run, **QUESTION, device=device, series=series)
    assert any("could not be compared" in warning for warning in analysis.warnings)
    (pair,) = coupled(analysis)
    assert pair.clock_unsure_s is None
    assert pair.lag_interval_s is None
    assert "who leads, cannot be told" in pair.reasons[-1]
    assert "who leads the clocks of the two hosts cannot tell" in verdict_sentence(analysis)


def test_the_report_says_how_far_the_clocks_were_apart(tmp_path):
    run = simulate_cluster(tmp_path, Cluster(hosts=3, ranks=3, steps=200, seed=2))
    lines = clock_lines(load_series(run))
    assert "written on 3 hosts" in lines[0]
    assert [line.split(" was ")[0] for line in lines[1:]] == ["The clock of node-1", "The clock of node-2"]
    assert all("±" in line and "ppm" in line for line in lines[1:])


def test_of_several_hosts_clocks_the_worst_known_counts():
    """Every host calls its processor cpu: their samples stand in one series, as sure as the worst of them."""
    first, second, unknown = HostClock("a", 0.0, 0.1), HostClock("b", 0.0, 0.2), HostClock("c")
    assert less_sure(None, first) is first
    assert less_sure(second, first) is less_sure(first, second) is second
    assert less_sure(unknown, second) is less_sure(second, unknown) is unknown
