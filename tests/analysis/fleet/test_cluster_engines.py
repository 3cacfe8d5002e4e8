"""Ray and Dask give what this machine gives, to the last bit, whoever is killed on the way."""

import importlib
import os
import signal
import threading

import pytest
from fleet_runs import fleet_runs
from fleet_tasks import failed, killed_once
from servers import DaskCluster, RayCluster
from thermograd.analysis.fleet.analyze import analyze_fleet
from thermograd.analysis.fleet.engines.choice import workers_for
from thermograd.analysis.fleet.engines.mapping import mapped
from thermograd.analysis.fleet.question import Question
from thermograd.store.runs.catalogue import list_runs

pytest.importorskip("ray")
pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's and Dask's own processes
QUESTION = Question(x=("grad_norm",), y=("power_w",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    list(fleet_runs(folder, 6, coupled=2, steps=300, samples=300))
    return folder


@pytest.fixture(scope="module")
def here(folder):
    return without_id(analyze_fleet(list_runs(folder), QUESTION))


def without_id(found):
    return found.findings.drop_columns(["analysis_id"])


def squares(tables):
    return [
        row["square"] for _, table in sorted(tables, key=lambda each: each[0]) for row in table.to_pylist()
    ]


def chunks(tmp_path, count=12, size=3):
    """Return numbers, of which one kills its worker the first time."""
    items = [(number, str(tmp_path / "killed") if number == 7 else "") for number in range(count)]
    return [items[first : first + size] for first in range(0, count, size)]


def test_ray_gives_the_same_bits_and_survives_a_worker_and_a_node(
    folder, here, ray_cluster: RayCluster, tmp_path
):
    found = analyze_fleet(list_runs(folder), QUESTION, engine="ray", address=ray_cluster.address)
    assert without_id(found).equals(here)
    assert found.engine.startswith("ray at ")
    assert any("does not pay" in note for note in found.notes)
    by_value = importlib.import_module("ray.cloudpickle").register_pickle_by_value
    by_value(importlib.import_module(killed_once.__module__))  # its workers do not know the tests' modules
    workers = workers_for(killed_once, "ray", ray_cluster.address)
    removal = threading.Timer(0.5, ray_cluster.remove_node)
    removal.start()
    try:
        told = squares(mapped(chunks(tmp_path), workers, failed))
    finally:
        removal.join()
    assert told == [number * number for number in range(12)]


def test_dask_gives_the_same_bits_and_survives_a_worker(folder, here, dask_cluster: DaskCluster, tmp_path):
    found = analyze_fleet(list_runs(folder), QUESTION, engine="dask", address=dask_cluster.address)
    assert without_id(found).equals(here)
    workers = workers_for(killed_once, "dask", dask_cluster.address)
    victim = dask_cluster.worker_pids[0]
    kill = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
    kill.start()
    told = squares(mapped(chunks(tmp_path), workers, failed))
    kill.join()
    assert told == [number * number for number in range(12)]
