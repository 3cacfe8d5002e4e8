"""What the agent records of clocks: its host's time service, and at the end how far the hosts' are apart."""

import json
import socket

import pytest
from thermograd.ingest.agent import agent
from thermograd.ingest.simulate.cluster import Cluster, simulate_cluster
from thermograd.store.clocks import ntp
from thermograd.store.clocks.hosts import run_clocks
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.reader import read_kind
from thermograd.store.processes import boot_id


@pytest.fixture
def ended_job(tmp_path):
    """A job whose rank 0 was on this host; its own agent is about to end."""
    run = simulate_cluster(tmp_path, Cluster(hosts=2, ranks=4, steps=120))
    for facts in run.writers():
        if facts["host"] == "node-0":
            here = {"host": socket.gethostname(), "boot_id": boot_id()}
            write_json(writer_file(run.path, facts["writer"]), facts | here)
    return run


def clock_details(run):
    marks = [mark for mark in read_kind(run.path, "mark").to_pylist() if mark["mark"] == "clock"]
    return [json.loads(mark["detail"]) for mark in marks]


def test_time_service_and_offsets_are_clock_marks_of_the_agent(ended_job, monkeypatch):
    state = {"synchronised": True, "max_error_s": 0.003}
    monkeypatch.setattr(ntp, "ntp_state", lambda: state)
    agent.run_agent(ended_job.path, 10.0, 0, duration_s=0.2)
    service, offset = clock_details(ended_job)
    assert service == {"ntp": state}
    assert offset["reference"] == socket.gethostname()
    clocks = run_clocks(ended_job)
    assert offset["offset"]["offset_s"] == pytest.approx(clocks.hosts["node-1"].offset_s)
    assert clocks.reference_ntp == state


def test_where_the_kernel_does_not_tell_nothing_is_recorded(tmp_path, monkeypatch):
    run = simulate_cluster(tmp_path, Cluster(hosts=2, ranks=4, steps=60))
    monkeypatch.setattr(ntp, "ntp_state", lambda: None)
    agent.run_agent(run.path, 10.0, 0, duration_s=0.2)
    assert clock_details(run) == []
