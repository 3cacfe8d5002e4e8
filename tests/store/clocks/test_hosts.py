"""The clocks of a run's hosts, read from its log; and what the kernel says of the time service."""

import json
import sys

import numpy as np
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.ingest.simulate.cluster import Cluster, host_name, simulate_cluster
from thermograd.store.clocks import ntp
from thermograd.store.clocks.hosts import run_clocks
from thermograd.store.clocks.marks import offset_marks
from thermograd.store.clocks.telling import clock_lines, clocks_shown, describe_clocks
from thermograd.store.files import read_json, write_json, writer_file
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter

JOB = Cluster(hosts=4, ranks=8, steps=300, clock_step_s=0.15, seed=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate_cluster(tmp_path_factory.mktemp("runs"), JOB)


@pytest.fixture
def own_run(tmp_path):
    return simulate_cluster(tmp_path, JOB)


def true_ahead_s(run, host, at_s):
    clocks = run.facts["truth"]["clocks"]
    other, own = clocks[host], clocks[0]
    drift = 1e-6 * (other["drift_ppm"] - own["drift_ppm"])
    return (
        other["offset_s"]
        - own["offset_s"]
        + drift * at_s
        + other.get("set_by_s", 0) * (at_s > JOB.length_s / 2)
    )


def test_every_host_is_compared_with_that_of_the_lowest_rank(run):
    clocks = run_clocks(run)
    assert clocks.reference == "node-0"
    assert list(clocks.hosts) == ["node-1", "node-2", "node-3"]
    for host in (1, 2, 3):
        found = clocks.hosts[host_name(host)]
        assert found.first_s == pytest.approx(true_ahead_s(run, host, 0), abs=0.005)
        assert found.last_s == pytest.approx(true_ahead_s(run, host, JOB.length_s), abs=0.005)
        assert (found.by, found.ranks, found.steps) == ("step ends", 2, JOB.steps)
        assert found.unsure_s < 0.005
    assert clocks.hosts["node-3"].set_by_s == pytest.approx([0.15], abs=1e-4)
    assert clocks.hosts["node-1"].set_by_s == []


def test_samples_of_other_hosts_are_set_right_also_after_their_clock_was_set(run):
    """Sampled once a second of true time: by the reference's clock they are even again."""
    clocks, samples = run_clocks(run), read_kind(run.path, "sample")
    begin_ns = run.facts["started_time_ns"]
    for writer in samples["writer"].unique().to_pylist():
        mine = samples.filter(pc.equal(samples["writer"], writer))
        wall_ns, steady_ns = (np.asarray(mine[name]) for name in ("time_ns", "monotonic_ns"))
        right_ns = clocks.set_right(writer, wall_ns, steady_ns)
        host = int(writer.split("-")[1])
        if host == 0:
            assert right_ns is wall_ns
            continue
        ahead_s = true_ahead_s(run, host, (right_ns - begin_ns) / 1e9)
        assert np.abs((wall_ns - right_ns) / 1e9 - ahead_s).max() < 0.005


def test_a_run_on_one_machine_has_nothing_to_compare(tmp_path):
    """Containers have names of their own and the machine's clock."""
    run = simulate_cluster(tmp_path, Cluster(hosts=2, ranks=2, steps=40))
    for facts in run.writers():
        write_json(writer_file(run.path, facts["writer"]), facts | {"boot_id": "one"})
    assert run_clocks(run) is None
    assert clocks_shown(None)["hosts"] == []
    assert "one host" in describe_clocks(clocks_shown(None))


def test_hosts_without_a_boot_are_told_apart_by_name_and_boots_of_one_name_by_the_boot(own_run):
    for facts in own_run.writers():
        write_json(writer_file(own_run.path, facts["writer"]), facts | {"boot_id": None})
    assert set(run_clocks(own_run).hosts) == {"node-1", "node-2", "node-3"}
    for facts in own_run.writers():
        boot = {"boot_id": f"boot-{facts['host']}", "host": "same"}
        write_json(writer_file(own_run.path, facts["writer"]), facts | boot)
    assert len({run_clocks(own_run).reference, *run_clocks(own_run).hosts}) == 4


def test_independent_trainings_say_why_there_is_no_offset_and_ntp_stands_in(tmp_path):
    run = simulate_cluster(tmp_path, Cluster(hosts=2, ranks=4, steps=200, independent=True))
    clock = run_clocks(run).hosts["node-1"]
    assert (clock.offset_s, clock.unsure_s, clock.by) == (None, None, "")
    assert "drift apart" in clock.reason
    record_ntp(run, {"node-0": (True, 0.004), "node-1": (True, 0.002)})
    clock = run_clocks(run).hosts["node-1"]
    assert clock.offset_s is None
    assert (clock.unsure_s, clock.by) == (pytest.approx(0.006), "NTP")
    assert "±" in clock_lines(run_clocks(run))[0]


def test_an_unsynchronised_host_promises_nothing(tmp_path):
    run = simulate_cluster(tmp_path, Cluster(hosts=2, ranks=4, steps=200, independent=True))
    record_ntp(run, {"node-0": (True, 0.004), "node-1": (False, 16.0)})
    clocks = run_clocks(run)
    assert clocks.hosts["node-1"].unsure_s is None
    assert clocks.reference_ntp["synchronised"] is True
    assert "not synchronised" in describe_clocks(clocks_shown(clocks))


def record_ntp(run, states):
    for facts in run.writers():
        if facts["role"] == "agent" and facts["host"] in states:
            synchronised, max_error_s = states.pop(facts["host"])
            state = {"synchronised": synchronised, "max_error_s": max_error_s}
            name = f"{facts['host']}-ntp-1-abcdef"
            writer = EventWriter(run.path, run.run_id, name, ("mark",))
            writer.append("mark", **ntp.ntp_mark(state))
            writer.close()
            path = writer_file(run.path, name)
            write_json(path, read_json(path) | {"host": facts["host"], "boot_id": facts["boot_id"]})


def test_only_the_host_of_rank_0_records_the_offsets(run):
    assert list(offset_marks(run.path, "node-2")) == []
    marks = list(offset_marks(run.path, "node-0"))
    assert [mark["mark"] for mark in marks] == ["clock"] * 3
    told = json.loads(marks[2]["detail"])
    assert told["reference"] == "node-0"
    assert told["offset"]["host"] == "node-3"
    assert told["offset"]["offset_s"] == pytest.approx(run_clocks(run).hosts["node-3"].offset_s)
    assert "it was set by +0.150 s" in marks[2]["text"]


def test_the_command_shows_every_host(run):
    runner = CliRunner()
    text = runner.invoke(main, ["--runs", str(run.path.parent), "clocks", "latest"])
    assert text.exit_code == 0
    assert [line.split()[0] for line in text.stdout.splitlines()[2:]] == [host_name(k) for k in range(4)]
    shown = json.loads(
        runner.invoke(main, ["--runs", str(run.path.parent), "clocks", "latest", "--json"]).stdout
    )
    assert shown["hosts"][0]["reason"] is None
    assert shown["hosts"][0]["ntp"] is None


def test_steps_without_a_number_or_any_step_are_no_trouble(own_run):
    for path in (own_run.path / "sealed" / "step").iterdir():
        path.unlink()
    assert run_clocks(own_run) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux's kernel tells of its clock")
def test_the_kernel_is_asked_without_privileges():
    state = ntp.ntp_state()
    if state is None:
        pytest.skip("this kernel does not answer adjtimex")
    assert isinstance(state["synchronised"], bool)
    assert 0 <= state["estimated_error_s"] <= state["max_error_s"] <= 1000


def test_the_time_service_is_told_at_first_and_when_it_comes_or_goes(monkeypatch):
    states = [True, True, False, None, False, True]
    told = iter([None if s is None else {"synchronised": s, "max_error_s": 0.01} for s in states])
    monkeypatch.setattr(ntp, "ntp_state", lambda: next(told))
    service = ntp.TimeService()
    news = [service.news() for _ in states]
    assert [mark is not None for mark in news] == [True, False, True, False, False, True]
    assert news[2]["text"] == "the host's clock is not synchronised"
    assert json.loads(news[0]["detail"])["ntp"]["synchronised"] is True
