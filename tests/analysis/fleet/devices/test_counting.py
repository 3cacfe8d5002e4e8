"""What is counted in runs on disk: once for a job, by rank or device what is its own, and where it ran."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from thermograd.analysis.fleet.devices.cells import Place
from thermograd.analysis.fleet.devices.counting import SCHEMA, cells_by_kind, count_paths
from thermograd.analysis.fleet.devices.survey import survey, survey_runs
from thermograd.analysis.fleet.devices.telling import describe_survey
from thermograd.store.events import arrow_schema
from thermograd.store.files import write_json
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import create_run

START_NS = 1_780_000_000 * 10**9
STEPS = 200


def gpu(number):
    return f"GPU-{number:08x}-0000-4000-8000-000000000000"


class Job:
    """A run of several ranks and their devices, written as sealed files."""

    def __init__(self, folder, name="job", model="Net", source="recorded"):
        facts = {"model": {"class": model, "parameters": 7}, "source": source}
        self.run = create_run(folder, name, facts)

    def writer(self, role, host, rack=None, kind="training"):
        name = f"{host}-{role}-4711-0a1b2c"
        labels = {"labels": {"rack": rack}} if rack else {}
        folder = self.run.path / "writers"
        folder.mkdir(exist_ok=True)
        facts = {"writer": name, "role": kind, "host": host, "closed_time_ns": START_NS} | labels
        write_json(folder / f"{name}.json", facts)
        return name

    def write(self, writer, kind, columns):
        count = len(next(iter(columns.values())))
        times = START_NS + np.arange(count) * 10**9
        common = {"seq": np.arange(count), "time_ns": times, "monotonic_ns": times}
        schema = arrow_schema(kind, self.run.run_id, writer)
        given = common | columns
        arrays = [pa.array(given.get(f.name, [None] * count), f.type) for f in schema]
        path = self.run.path / "sealed" / kind / f"{writer}-{0:012}-{count - 1:012}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, pa.table(arrays, schema=schema), kind)

    def rank(self, rank, device, host="n1", rack=None, norms=None, losses=None, times=None):
        writer = self.writer(f"r{rank}", host, rack)
        norms = np.ones(STEPS) + 0.01 * np.sin(np.arange(STEPS)) if norms is None else norms
        columns = {"step": np.arange(1, STEPS + 1), "rank": np.full(STEPS, rank), "grad_norm": norms}
        columns["loss"] = np.ones(STEPS) if losses is None else losses
        columns["step_time_s"] = np.ones(STEPS) if times is None else times
        self.write(writer, "step", columns)
        if device:
            note = {"rank": rank, "device": device}
            text = f"rank {rank} computes on {device}"
            self.write(writer, "mark", {"mark": ["note"], "text": [text], "detail": [json.dumps(note)]})

    def samples(self, host, devices, rack=None, **columns):
        writer = self.writer("agent", host, rack, "agent")
        rows = {"device": np.repeat(devices, len(next(iter(columns.values()))) // len(devices)).tolist()}
        count = len(rows["device"]) // len(devices)
        times = np.tile(START_NS + np.arange(count) * 10**9, len(devices))
        self.write(writer, "sample", {"time_ns": times} | rows | columns)

    def counted(self):
        return cells_by_kind(count_paths([str(self.run.path)]))


def spiky(*at):
    norms = np.ones(STEPS) + 0.01 * np.sin(np.arange(STEPS))
    norms[list(at)] = 5.0
    return norms


def by_device(cells):
    return {cell.places[0].device: cell.events for cell in cells if len(cell.places) == 1}


def test_a_spike_that_all_ranks_see_is_one_event_of_the_whole_job(tmp_path):
    job = Job(tmp_path)
    for rank in range(4):
        job.rank(rank, gpu(rank), host=f"n{rank // 2}", rack="r1", norms=spiky(60, 62, 120))
    (cell,) = job.counted()["spike"]
    assert (cell.events, cell.exposure) == (2, STEPS)  # 60 and 62 are one episode
    assert {place.device for place in cell.places} == {gpu(rank) for rank in range(4)}
    assert cell.places[0] == Place(gpu(0), "n0", (("rack", "r1"),))


def test_norms_that_differ_between_ranks_are_each_rank_s_own(tmp_path):
    job = Job(tmp_path)
    for rank in range(4):
        job.rank(rank, gpu(rank), norms=(1 + 0.1 * rank) * spiky(*([90] if rank == 2 else [])))
    assert by_device(job.counted()["spike"]) == {gpu(0): 0, gpu(1): 0, gpu(2): 1, gpu(3): 0}


def test_a_loss_of_one_rank_that_is_not_finite_is_that_rank_s(tmp_path):
    job = Job(tmp_path)
    for rank in range(3):
        losses = np.ones(STEPS)
        losses[50:53] = np.nan if rank == 1 else 1.0
        job.rank(rank, gpu(rank), losses=losses)
    assert by_device(job.counted()["nonfinite_loss"]) == {gpu(0): 0, gpu(1): 1, gpu(2): 0}
    assert [cell.events for cell in job.counted()["nonfinite"]] == [0]


def test_slow_steps_are_counted_by_rank_against_the_others_at_the_same_step(tmp_path):
    job = Job(tmp_path)
    for rank in range(4):
        times = np.ones(STEPS)
        times[100] = 3.0  # of all: a checkpoint
        times[[40, 80]] = 1.5 if rank == 3 else 1.0
        job.rank(rank, gpu(rank), times=times)
    assert by_device(job.counted()["slow_step"]) == {gpu(0): 0, gpu(1): 0, gpu(2): 0, gpu(3): 2}


def test_throttling_memory_errors_and_silence_are_a_device_s_own(tmp_path):
    job, seconds = Job(tmp_path), 200
    job.rank(0, gpu(0))
    throttled = np.zeros(2 * seconds, int)
    throttled[seconds + 50 : seconds + 60] = 10**9 * np.arange(1, 11)
    throttled[seconds + 60 :] = 10**10
    throttled[seconds + 150 :] += 10**9
    ecc = np.zeros(2 * seconds, int)
    ecc[seconds + 20 :] = 3
    times = np.tile(START_NS + np.arange(seconds) * 10**9, 2)
    times[120:seconds] += 60 * 10**9  # a hole of the first device
    job.samples(
        "n1",
        [gpu(0), gpu(1)],
        "r9",
        throttled_thermal_ns=throttled,
        ecc_corrected=ecc,
        ecc_uncorrected=ecc,
        time_ns=times,
    )
    cells = job.counted()
    assert by_device(cells["throttled"]) == {gpu(0): 0, gpu(1): 2}  # ten readings in a row are one onset
    assert by_device(cells["ecc"]) == {gpu(0): 0, gpu(1): 1}
    assert by_device(cells["silence"])[gpu(0)] == 1
    assert cells["ecc"][0].places[0].labels == (("rack", "r9"),)


def test_an_import_says_nothing_of_the_machine_that_imported_it(tmp_path):
    job = Job(tmp_path, source="imported")
    job.rank(0, gpu(5), norms=spiky(100))
    (cell,) = job.counted()["spike"]
    assert cell.places == (Place(gpu(5)),)


def test_a_device_without_a_uuid_is_the_same_only_on_its_host(tmp_path):
    job = Job(tmp_path)
    job.rank(0, "gpu0", host="n7", norms=spiky(100))
    (cell,) = job.counted()["spike"]
    assert cell.places[0].device == "n7/gpu0"


def test_a_poisoned_run_is_told_and_the_others_count(tmp_path, monkeypatch):
    from thermograd.analysis.fleet.devices import counting

    jobs = [Job(tmp_path, f"job{k}") for k in range(3)]
    for k, job in enumerate(jobs):
        job.rank(0, gpu(k), norms=spiky(100))
    honest = counting.count_runs

    def poisoned(runs):
        if jobs[1].run in runs:
            raise RuntimeError("poison")
        return honest(runs)

    monkeypatch.setattr(counting, "count_runs", poisoned)
    found = survey(count_paths([str(job.run.path) for job in jobs]))
    assert [row["error"] for row in found.failed] == ["RuntimeError: poison"]
    assert found.events == {"spike": 2}
    assert f"Run {jobs[1].run.run_id} is left out: RuntimeError: poison" in describe_survey(found)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Forty jobs of one GPU each, on four GPUs: the last has four spikes a job, others one in two."""
    folder = tmp_path_factory.mktemp("fleet")
    for k in range(40):
        job, number = Job(folder, f"job{k}"), k % 4
        at = [40, 80, 120, 160] if number == 3 else [90] if k % 8 < 4 else []
        job.rank(0, gpu(number), rack="r1", norms=spiky(*at))
    return sorted(Path(folder).iterdir())


def test_the_bad_gpu_of_runs_on_disk_is_named_with_its_odds(fleet):
    found = survey(count_paths([str(path) for path in fleet]))
    (bad,) = found.named
    assert (bad.level, bad.name, bad.kind, bad.events, bad.runs) == ("device", gpu(3), "spike", 40, 10)
    assert bad.ratio == pytest.approx(8, rel=0.05)
    assert bad.ratio_low < 8 < bad.ratio_high
    assert bad.p_family < 1e-4
    said = describe_survey(found)
    assert f"device {gpu(3)}: 8 times its peers' rate of spikes of the gradient norm (95 %: " in said


def test_where_none_stands_out_it_says_what_could_have_been_seen(fleet):
    found = survey(
        count_paths([str(path) for path in fleet if int(path.name.split("-job")[1][:-5]) % 4 != 3])
    )
    assert found.named == []
    said = describe_survey(found)
    assert "None stands out" in said
    assert "Would be seen from, spikes of the gradient norm: device" in said


def test_a_level_that_no_run_knows_is_refused_with_those_that_there_are(fleet):
    counted = count_paths([str(path) for path in fleet])
    with pytest.raises(ValueError, match="no run knows a 'switch'; allowed: device, host, rack"):
        survey(counted, "switch")
    assert survey(counted, "device").units == {"device": 4}


def test_nothing_counted_says_that_nothing_can_be_said():
    said = describe_survey(survey(SCHEMA.empty_table()))
    assert "Nothing can be said: there was no event" in said
    assert survey_runs([]).named == []
