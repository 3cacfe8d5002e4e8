"""Where a process stands in its job, and the run id that all processes use."""

import re
import sys
import types
from datetime import timedelta

import pytest
from thermograd.ingest.job import rank as job
from thermograd.ingest.job.rank import Place, agree_on_run_id, cuda_device, place_of_this_process


@pytest.fixture(autouse=True)
def nothing_used(monkeypatch):
    monkeypatch.setattr(job, "_uses", type(job._uses)())


TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}
SLURM = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NODEID": "2"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place(0, 0, 1, None)),
        (TORCHRUN, Place(3, 1, 4, 1)),
        (TORCHRUN | SLURM, Place(3, 1, 4, 1)),
        (SLURM | {"SLURM_STEP_ID": "0"}, Place(5, 1, 8, 2)),
        (SLURM, Place(0, 0, 1, None)),  # a batch script: one process, whatever the allocation is
        (
            {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"},
            Place(2, 0, 3),
        ),
        ({"RANK": "two", "WORLD_SIZE": "-1"}, Place()),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 1, 2)),
    ],
)
def test_the_environment_says_where_a_process_stands(environment, place):
    assert place_of_this_process(environment) == place


def test_a_launchers_id_is_used_once_and_restarts_are_runs_of_their_own():
    given = {"THERMOGRAD_RUN_ID": "job-42"}
    assert [agree_on_run_id("x", Place(), given) for _ in range(3)] == ["job-42", "job-42-2", "job-42-3"]
    assert agree_on_run_id("x", Place(), given | {"TORCHELASTIC_RESTART_COUNT": "1"}) == "job-42-restart1"


def test_a_process_alone_makes_an_id_of_its_own():
    assert re.fullmatch(r"\d{8}-\d{6}-my-run-[0-9a-f]{4}", agree_on_run_id("my run", Place(), {}))


def test_without_a_store_all_processes_of_a_job_make_the_same_id():
    environment = {"MASTER_ADDR": "host", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none"}

    def ids(**more):
        found = set()
        for rank in (0, 1):
            job._uses.clear()
            found.add(agree_on_run_id("x", Place(rank, rank, 2), environment | more))
        return found

    assert len(ids()) == 1
    assert ids() != ids(MASTER_PORT="29501")
    assert ids() != ids(TORCHELASTIC_RESTART_COUNT="1")
    assert "none" not in next(iter(ids()))


def test_rank_0_hands_its_id_on_through_the_store():
    torch = pytest.importorskip("torch")
    store = torch.distributed.HashStore()
    first = job._through(store, "x", Place(0, 0, 2), {})
    job._uses.clear()
    assert job._through(store, "x", Place(1, 1, 2), {}) == first
    assert job._through(store, "x", Place(0, 0, 2), {}) != first


def test_a_rank_0_that_records_nothing_does_not_hold_up_the_others(monkeypatch):
    torch = pytest.importorskip("torch")
    store = torch.distributed.HashStore()
    monkeypatch.setattr(job, "_STORE_WAIT", timedelta(milliseconds=50))
    monkeypatch.setattr(job, "_store", lambda environment: store)
    assert re.fullmatch(r"[0-9-]+-x-[0-9a-f]{10}", agree_on_run_id("x", Place(1, 1, 2), {"MASTER_ADDR": "a"}))


def stand_in(monkeypatch, initialised, uuid="8d7c-aa"):
    cuda = types.SimpleNamespace(
        is_initialized=lambda: initialised,
        current_device=lambda: 1,
        get_device_properties=lambda index: types.SimpleNamespace(uuid=f"{uuid}-{index}"),
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))


def test_the_device_is_known_once_cuda_is_initialised_and_never_initialised_by_us(monkeypatch):
    stand_in(monkeypatch, initialised=False)
    assert cuda_device() is None
    stand_in(monkeypatch, initialised=True)
    assert cuda_device() == "GPU-8d7c-aa-1"
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace())
    assert cuda_device() is None


def test_the_device_of_a_rank_is_noted_with_its_first_step(monkeypatch, tmp_path):
    import json

    import thermograd
    from thermograd.store.log.reader import read_kind

    stand_in(monkeypatch, initialised=True)
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
        run.step(loss=1.0)
    notes = [m for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "note"]
    assert [json.loads(m["detail"]) for m in notes] == [{"rank": 0, "device": "GPU-8d7c-aa-1"}]
