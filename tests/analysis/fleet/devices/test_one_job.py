"""Which rank or device of one job stands out, and that none does in jobs without a bad one."""

import json

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from thermograd.analysis.fleet.devices import one_job as module
from thermograd.analysis.fleet.devices.beside import peer_lines
from thermograd.analysis.fleet.devices.one_job import PARTS, judged_blocks, one_job, one_job_lines
from thermograd.analysis.fleet.devices.peers import slow_ranks
from thermograd.cli import main
from thermograd.store.events import arrow_schema
from thermograd.store.files import write_json
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import create_run

START_NS = 1_780_000_000 * 10**9
STEPS = 400


def gpu(number):
    return f"GPU-{number:08x}-0000-4000-8000-000000000000"


class Job:
    """A run of several ranks, each on its host, whose clocks disagree; written as sealed files."""

    def __init__(self, folder, ranks):
        devices = {gpu(rank): {"model": "Simulated"} for rank in range(ranks)}
        self.run = create_run(folder, "job", {"devices": devices})
        self.ranks, self.rng = ranks, np.random.default_rng(ranks)

    def write(self, role, rank, kind, columns, offset_s=0.0):
        name = f"n{rank}-{role}-4711-0a1b2c"
        (self.run.path / "writers").mkdir(exist_ok=True)
        facts = {"writer": name, "role": role, "host": f"n{rank}", "closed_time_ns": START_NS}
        write_json(self.run.path / "writers" / f"{name}.json", facts)
        count = len(next(iter(columns.values())))
        times = START_NS + round(offset_s * 1e9) + np.arange(count) * 10**9
        common = {"seq": np.arange(count), "time_ns": times, "monotonic_ns": times}
        schema = arrow_schema(kind, self.run.run_id, name)
        arrays = [pa.array((common | columns).get(f.name, [None] * count), f.type) for f in schema]
        path = self.run.path / "sealed" / kind / f"{name}-{0:012}-{count - 1:012}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, pa.table(arrays, schema=schema), kind)

    def all_ranks(self, slow=None, lost=None):
        for rank in range(self.ranks):
            times = 0.5 * np.exp(0.03 * self.rng.standard_normal(STEPS)) * (1.1 if rank == slow else 1.0)
            losses = np.where((np.arange(STEPS) % 20 == 7) & (rank == lost), np.nan, 1.0)
            columns = {"step": np.arange(STEPS), "rank": np.full(STEPS, rank)}
            columns |= {"step_time_s": times, "loss": losses}
            self.write(f"r{rank}", rank, "step", columns, 0.2 * self.rng.standard_normal())

    def all_devices(self, hot=None, silent=None):
        for rank in range(self.ranks):
            times = START_NS + np.arange(STEPS) * 10**9
            throttled = np.cumsum((np.arange(STEPS) % 20 < 3) & (rank == hot)) * 10**8
            kept = np.ones(STEPS, bool) if rank != silent else np.arange(STEPS) < STEPS // 2
            columns = {"device": [gpu(rank)] * STEPS, "throttled_thermal_ns": throttled, "time_ns": times}
            columns |= {"ecc_corrected": np.zeros(STEPS, int), "ecc_uncorrected": np.zeros(STEPS, int)}
            columns = {name: np.asarray(of)[kept].tolist() for name, of in columns.items()}
            self.write("agent", rank, "sample", columns)


def test_a_slow_rank_a_hot_device_and_a_rank_with_losses_of_its_own_are_named(tmp_path):
    job = Job(tmp_path, 8)
    job.all_ranks(slow=5, lost=2)
    job.all_devices(hot=3)
    found = one_job(job.run)
    named = {(each.kind, each.unit) for each in found.named}
    assert {kind for kind, _ in named} == {"slow", "nonfinite_loss", "throttled"}
    assert {("slow", "rank 5"), ("nonfinite_loss", "rank 2")} < named
    slow = found.named[0]
    assert slow.ratio == pytest.approx(1.1, rel=0.02)
    assert slow.ratio_low < 1.1 < slow.ratio_high
    assert all(each.p < 0.05 for each in found.named)
    assert " % longer than its peers' (95 %: 9." in one_job_lines(found)[0]


def test_where_none_stands_out_it_says_what_would_have_been_seen(tmp_path):
    job = Job(tmp_path, 8)
    job.all_ranks()
    job.all_devices(silent=4)
    found = one_job(job.run)
    assert found.named == []
    assert 1.03 < found.detectable < 1.06
    lines = one_job_lines(found)
    assert lines[0] == "None stands out among 8 ranks and 8 devices."
    assert "alone: holes in the readings, in 5" in lines[1]  # once, and until the end: it may be any
    assert "would have been seen" in lines[2]
    assert "work_time_s" in lines[3]


def test_show_report_and_devices_tell_it_and_nothing_is_read_where_there_are_no_peers(tmp_path, monkeypatch):
    job = Job(tmp_path, 4)
    job.all_ranks(slow=1)
    runner = CliRunner()

    def told(*words):
        result = runner.invoke(main, ["--runs", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "rank 1: its step time is" in told("devices", "latest")
    assert json.loads(told("devices", "latest", "--json"))["named"][0]["unit"] == "rank 1"
    assert "Which rank or device stands out" in told("show", "latest")
    assert "rank 1: its step time is" in told("report", "latest", "--format", "md")
    (damaged,) = (job.run.path / "sealed" / "step").glob("n3-*")
    damaged.write_bytes(b"damaged" * 1000)
    assert "rank 1: its step time is" in told("devices", "latest"), "three ranks are left"
    assert "rank 1: its step time is" in told("show", "latest")
    alone = Job(tmp_path / "alone", 1)
    alone.all_ranks()
    assert one_job_lines(one_job(alone.run)) == ["Nothing is compared: it needs two ranks or devices."]
    monkeypatch.setattr(module, "one_job", lambda _: pytest.fail("it reads events"))
    assert peer_lines(alone.run) == []


def with_memory(rng, shape, memory):
    noise = rng.standard_normal(shape)
    for block in range(1, shape[1]):
        noise[:, block] = memory * noise[:, block - 1] + np.sqrt(1 - memory**2) * noise[:, block]
    return noise


@pytest.mark.parametrize(("ranks", "spread", "power"), [(4, 0.003, 0.9), (8, 0.008, 0.95), (64, 0.012, 0.95)])
def test_false_accusations_are_few_and_a_slow_rank_is_found_where_noise_has_memory(ranks, spread, power):
    rng = np.random.default_rng(7)
    false = found = 0
    for _ in range(200):
        ratios = np.exp(spread * with_memory(rng, (ranks, 20), 0.9))
        false += bool(slow_ranks(dict(enumerate(ratios)), 0.025).named)
        ratios[1] *= 1.1
        found += [slow.rank for slow in slow_ranks(dict(enumerate(ratios)), 0.025).named] == [1]
    assert false <= 10
    assert found >= 200 * power


@pytest.mark.parametrize(("begins", "lasts"), [(0.02, 0.02), (0.005, 0.97)])
def test_what_lasts_accuses_no_device(begins, lasts):
    rng, false = np.random.default_rng(3), 0
    for _ in range(100):
        state, happened = np.zeros(8, bool), np.zeros((8, PARTS), bool)
        for part in range(PARTS):
            state = rng.random(8) < np.where(state, lasts, begins)
            happened[:, part] = state
        units = {gpu(k): set(np.flatnonzero(of).tolist()) for k, of in enumerate(happened)}
        false += bool(list(judged_blocks({"throttled": units})))
    assert false <= 5
