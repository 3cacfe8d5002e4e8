"""Ray and Dask give what this machine gives, to the last bit, whoever is killed on the way."""

import importlib
import json
import os
import subprocess
import sys
import time
from functools import partial

import pyarrow as pa
import pytest
from fleet_runs import fleet_runs
from fleet_tasks import endangered, squares
from servers import DaskCluster, RayCluster
from thermograd.analysis.fleet import analyze
from thermograd.analysis.fleet.analyze import analyze_fleet
from thermograd.analysis.fleet.engines.choice import map_chunks
from thermograd.analysis.fleet.question import Question
from thermograd.store.errors import ThermogradError
from thermograd.store.runs.catalogue import Run, list_runs

pytest.importorskip("ray")
pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's and Dask's own processes
QUESTION = Question(x=("grad_norm",), y=("power_w",))
POISONED = ("kills", "raises")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    list(fleet_runs(folder, 4, coupled=2, steps=200, samples=200))
    return list_runs(folder)


@pytest.fixture(scope="module")
def here(runs):
    found = analyze_fleet(runs, QUESTION)
    assert found.tested == 4
    return found.findings.drop_columns(["analysis_id"])


@pytest.fixture
def among_poisoned(runs, tmp_path, monkeypatch):
    """Analyse the runs among two poisoned ones, where the first worker of all is killed."""
    monkeypatch.setattr(analyze, "analyse_chunk", partial(endangered, tmp_path / "killed"))
    for name in POISONED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"run_id": name}))
    poisoned = [Run(tmp_path / name) for name in POISONED]
    return partial(analyze_fleet, [poisoned[0], *runs[:2], poisoned[1], *runs[2:]], QUESTION)


def told(found):
    """Return the findings of the runs that are well, and why the poisoned ones have none."""
    assert [row["run_id"] for row in found.rows("run", "error")] == list(POISONED)
    errors = {row["run_id"]: row["error"] for row in found.rows("run", "error")}
    table = found.findings.drop_columns(["analysis_id"])
    return table.filter(pa.compute.not_equal(table["verdict"], "error")), errors


def test_ray_gives_the_same_bits_and_survives_workers_and_a_node(
    here, among_poisoned, ray_cluster: RayCluster
):
    # Its workers do not know the tests' modules.
    by_value = importlib.import_module("ray.cloudpickle").register_pickle_by_value
    by_value(importlib.import_module(endangered.__module__))
    removed = []

    def progress(done, of):
        if not removed:
            removed.append(done)
            ray_cluster.remove_node()

    found = among_poisoned(engine="ray", address=ray_cluster.address, progress=progress)
    findings, errors = told(found)
    assert removed
    assert findings.equals(here)
    assert "the process that worked on it died" in errors["kills"]
    assert errors["raises"] == "ValueError: this run is not for us"
    assert found.engine.startswith("ray at ")
    assert any("does not pay" in note for note in found.notes)


def test_dask_gives_the_same_bits_and_survives_workers(here, among_poisoned, dask_cluster: DaskCluster):
    found = among_poisoned(engine="dask", address=dask_cluster.address)
    findings, errors = told(found)
    assert findings.equals(here)
    assert "the process that worked on it died" in errors["kills"]
    assert errors["raises"] == "ValueError: this run is not for us"
    assert found.engine.startswith("dask at ")


def test_a_scheduler_that_is_lost_is_told_of_in_one_sentence(dask_cluster: DaskCluster, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def lost(*_, **__):
        raise distributed.client.FuturesCancelledError([])

    monkeypatch.setattr(distributed, "wait", lost)
    with pytest.raises(ThermogradError, match="dask at .*: its scheduler was lost"):
        list(map_chunks([[1]], squares, "dask", dask_cluster.address))


@pytest.mark.slow
def test_ray_has_two_nodes(ray_cluster: RayCluster):
    code = "import ray, sys; ray.init(address=sys.argv[1]); print('CPUs:', ray.cluster_resources()['CPU'])"
    ran = subprocess.run(
        [sys.executable, "-c", code, ray_cluster.address], capture_output=True, text=True, check=True
    )
    assert "CPUs: 2.0" in ran.stdout


def test_dask_s_workers_are_known_by_their_processes(dask_cluster: DaskCluster):
    client_kind = importlib.import_module("distributed").Client
    with client_kind(dask_cluster.address) as client:
        end_s = time.monotonic() + 60
        while sorted(client.run(os.getpid, on_error="ignore").values()) != sorted(dask_cluster.worker_pids):
            assert time.monotonic() < end_s  # one that another test has killed may be starting again
            time.sleep(0.05)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
