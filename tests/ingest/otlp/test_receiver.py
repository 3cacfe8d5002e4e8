import math
import time
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.proto")

from otlp import T0, WHO, gauge, point, receiver, request, rows, total
from thermograd.ingest.otlp.received_run import BusyError
from thermograd.ingest.otlp.receiver import _facts
from thermograd.ingest.otlp.resources import resource_of
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.at_places.shared import verified
from thermograd.store.runs.catalogue import Run, create_run, list_runs
from thermograd.store.runs.describe import (
    describe_run,
    describe_verification,
    outside_the_log,
    run_facts_shown,
)


@pytest.fixture(autouse=True)
def _steps_wait_for_what_the_test_sends(monkeypatch):
    """A busy machine may take longer than two seconds from one export to the next."""
    monkeypatch.setattr("thermograd.ingest.otlp.steps._WAIT_S", 600.0)


def only(runs: Path) -> Path:
    (run,) = list_runs(runs)
    return run.path


def wait_until(condition):
    until_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_what_trainers_and_sensors_send_becomes_steps_and_samples(tmp_path):
    gpu = {"hw.id": "GPU-1", "hw.type": "gpu", "hw.model": "NVIDIA H100"}
    dcgm = {"UUID": "GPU-2", "gpu": "1", "modelName": "NVIDIA A100", "Hostname": "node1"}
    with receiver(tmp_path) as made:
        answer = made.take(
            request(
                gauge("train.loss", *(point(3.0 - i, i, about={"iteration": i}) for i in (1, 2))),
                gauge("train.grad_norm", *(point(0.1 * i, i, about={"iteration": i}) for i in (1, 2))),
                gauge("step_time", point(250, 1, about={"iteration": 1}), unit="ms"),
                gauge("hw.temperature", point(61.5, 1, about=gpu), unit="Cel"),
                gauge("hw.power", point(350_000, 1, about=gpu), unit="mW"),
                gauge("hw.gpu.utilization", point(0.5, 1, about=gpu), unit="1"),
                total("hw.energy", point(7000, 1, about=gpu), unit="J"),
                gauge("DCGM_FI_DEV_POWER_USAGE", point(400.5, 1, about=dcgm)),
                gauge("DCGM_FI_DEV_FB_USED", point(3, 1, about=dcgm)),
                gauge("DCGM_FI_DEV_GPU_TEMP", point(0x7FFFFFF0, 1, about=dcgm)),
                gauge("node.load", point(2, 1, about={"cpu": 0})),
                gauge("train.loss", point(0.25, 9)),
            )
        )
    assert answer.rejected == 0
    run = only(tmp_path)
    steps = rows(run, "step")
    assert steps == [
        {"time_ns": T0 + 10**9, "step": 1, "loss": 2.0, "grad_norm": 0.1, "step_time_s": 0.25},
        {"time_ns": T0 + 2 * 10**9, "step": 2, "loss": 1.0, "grad_norm": 0.2},
    ]
    one, other = rows(run, "sample")
    at = {"time_ns": T0 + 10**9}
    assert one == at | {
        "device": "GPU-1", "temperature_c": 61.5, "power_w": 350.0, "utilization_pct": 50.0,
        "energy_j": 7000.0,
    }  # fmt: skip
    assert other == at | {"device": "GPU-2", "power_w": 400.5, "memory_used_bytes": 3.0 * 2**20}
    assert rows(run, "metric") == [
        at | {"name": "node.load{cpu=0}", "value": 2.0},
        {"time_ns": T0 + 9 * 10**9, "name": "train.loss", "value": 0.25},  # no step is told, none is invented
    ]
    (found,) = list_runs(tmp_path)
    assert found.state() == "finished"
    assert found.facts["host"] == "node1"
    assert found.facts["devices"]["GPU-2"] == {"model": "NVIDIA A100", "index": 1, "host": "node1"}


def test_a_trainers_gauges_without_a_number_are_steps_once_each(tmp_path):
    """Megatron-LM gives its gauges no iteration, and an SDK repeats a gauge until it is set anew."""
    with receiver(tmp_path) as made:
        for at, loss, norm in ((0, 2.5, 1.5), (10, 2.5, 1.5), (20, 2.25, 1.5)):
            made.take(
                request(
                    gauge("megatron.training.loss", point(loss, at)),
                    gauge("megatron.training.grad_norm", point(norm, at)),
                )
            )
    told = [(row["loss"], row["grad_norm"], "step" in row) for row in rows(only(tmp_path), "step")]
    assert told == [(2.5, 1.5, False), (2.25, 1.5, False)]


def test_axolotls_counter_is_the_number_of_its_steps(tmp_path):
    with receiver(tmp_path) as made:
        made.take(
            request(
                gauge("axolotl_gradient_norm", point(1.5, 5)),
                gauge("axolotl_train_loss", point(0.5, 5)),
                total("axolotl_global_steps", point(12, 5)),
            )
        )
    (step,) = rows(only(tmp_path), "step")
    assert step == {"time_ns": T0 + 5 * 10**9, "step": 12, "loss": 0.5, "grad_norm": 1.5}


def test_a_metric_that_is_the_steps_number_makes_steps_of_what_was_read_with_it(tmp_path):
    for number, loss in (
        *(("step", "train.loss"), ("global_step", "train.loss"), ("training.step", "train/loss")),
        *(("iteration", "loss"), ("trainer/global_step", "train/loss")),
    ):
        said = []
        folder = tmp_path / number.replace("/", "-")
        with receiver(folder, say=said.append) as made:
            for i in (1, 1, 2):  # an SDK says it again
                of = (
                    gauge(loss, point(1 / i, i)),
                    gauge("grad_norm", point(0.5, i)),
                    gauge("acc", point(0.25, i)),
                )
                made.take(request(*of, gauge(number, point(i, i))))
            made.take(request(gauge(loss, point(9.0, 7))))
        told = [(row["step"], row["loss"], row["grad_norm"]) for row in rows(only(folder), "step")]
        assert told == [(1, 1.0, 0.5), (2, 0.5, 0.5)], number
        found = [(row["name"], row.get("step"), row["value"]) for row in rows(only(folder), "metric")]
        assert found == [("acc", 1, 0.25), (number, 1, 1.0), (number, 2, 2.0), (loss, None, 9.0)]
        assert [text for text in said if "without a step's number" in text] == [
            f"{only(folder).name}: {loss} comes without a step's number and is kept by its name; give it an "
            'attribute "step", or send a metric "step" with it'
        ]


def test_a_steps_number_is_whole_and_what_is_none_is_refused_by_name(tmp_path):
    def loss(step, at):
        return gauge("loss", point(float(at), at, about={"step": step}))

    taken, refused = (7.0, "8", 2**53), (-3, "abc", 2.5, 2**53 + 1, 2**63 - 1, "nan")
    with receiver(tmp_path) as made:
        answer = made.take(request(*(loss(step, at) for at, step in enumerate((*taken, *refused)))))
        made.take(request(gauge("job.load", point(1.0, 1, about={"step": "fetch"}))))
    assert [row["step"] for row in rows(only(tmp_path), "step")] == [7, 8, 2**53]
    assert answer.rejected == len(refused)
    for step in refused:
        assert f"loss with step={step}: a step is a whole number from 0 to 2^53" in answer.message
    assert [row["name"] for row in rows(only(tmp_path), "metric")] == ["job.load{step=fetch}"]


def test_what_comes_after_its_step_was_written_and_a_second_value_are_kept_and_counted(tmp_path):
    """An SDK that says a metric of a step again adds nothing; a series of times without steps does."""

    def of(name, value, at=1, **about):
        return gauge(name, point(value, at, about=about))

    with receiver(tmp_path) as made:
        made.take(request(of("loss", 1.0, step=1), of("loss", 1.0, at=2, step=2)))
        for run in made._runs.values():
            run._steps.tick(at_end=True)
        made.take(request(of("grad_norm", 9.0, step=1), of("loss", 2.0, at=2, step=2)))
        made.take(request(of("m", 1.0), of("m", 2.0)))
        for at in (3, 4):
            made.take(request(of("acc", 0.5, at=at, step=1), of("queue", 0.0, at=at)))
        counted = {name: made.counts[name] for name in ("late", "second", "repeated")}
    assert counted == {"late": 1, "second": 2, "repeated": 1}
    told = [(row["step"], row.get("loss"), row.get("grad_norm")) for row in rows(only(tmp_path), "step")]
    assert sorted(told, key=str) == [(1, 1.0, None), (1, None, 9.0), (2, 1.0, None), (2, 2.0, None)]
    names = [row["name"] for row in rows(only(tmp_path), "metric")]
    assert names == ["m", "m", "acc", "queue", "queue"]


def test_a_step_is_one_event_though_its_columns_come_in_two_exports(tmp_path):
    def of(name, values, at=0.0):
        return gauge(name, *(point(v, at, about={"step": i}) for i, v in values.items()))

    with receiver(tmp_path) as made:
        made.take(request(of("loss", {1: 3.0, 2: 2.0})))
        made.take(request(of("grad_norm", {1: 0.5, 2: 0.25}, at=0.5)))
        made.take(request(of("loss", {1: 3.0, 2: 2.0})))  # again
    told = [(row["step"], row["loss"], row["grad_norm"]) for row in rows(only(tmp_path), "step")]
    assert told == [(1, 3.0, 0.5), (2, 2.0, 0.25)]


def test_values_are_what_they_were_to_the_bit(tmp_path):
    values = (0.1, -0.0, 5e-324, math.inf, math.nan, 2**53 + 1, -(2**63), 2**63 - 1)
    with receiver(tmp_path) as made:
        made.take(request(gauge("x", *(point(v, i) for i, v in enumerate(values)))))
        made.take(request(gauge("loss", point(math.nan, 0, about={"step": 1}))))
    found = rows(only(tmp_path), "metric")
    told = [int(row["text"]) if "text" in row else row["value"] for row in found]
    assert [repr(value) for value in told] == [repr(value) for value in values]
    assert [repr(row["loss"]) for row in rows(only(tmp_path), "step")] == ["nan"]


def test_what_has_no_value_is_null_and_what_is_not_taken_is_named(tmp_path):
    gpu = {"hw.id": "g"}
    with receiver(tmp_path) as made:
        answer = made.take(
            request(
                gauge("x", point(None, 0, flags=1), point(1.0, 1)),
                gauge("hw.power", point(math.nan, 2, about=gpu), point(9e9, 3, about=gpu), unit="W"),
                gauge("hw.temperature", point(300.0, 2, about=gpu), unit="furlong"),
                {"name": "latency", "histogram": {"dataPoints": [{}, {}]}},
                {"name": "sizes", "exponentialHistogram": {"dataPoints": [{}]}},
                {"name": "old", "summary": {"dataPoints": [{}]}},
                gauge("y", {"asDouble": 1.0, "timeUnixNano": "17"}),
            )
        )
        assert made.counts["empty"] == 3
    assert answer.rejected == 6
    for reason in ("histogram latency", "exponential histogram sizes", "summary old", "furlong", "1973"):
        assert reason in answer.message
    assert [row["value"] for row in rows(only(tmp_path), "metric")] == [1.0]
    assert rows(only(tmp_path), "sample") == []


def test_units_errors_and_the_number_of_devices_are_as_they_are_said(tmp_path, monkeypatch):
    for module in ("received_run", "receiver"):
        monkeypatch.setattr(f"thermograd.ingest.otlp.{module}.MOST_DEVICES", 2)

    def of(name, value, unit="", **about):
        return gauge(name, point(value, about={"hw.id": "g"} | about), unit=unit)

    with receiver(tmp_path) as made:
        made.take(
            request(
                of("hw.energy", 2.0, "kWh"),
                of("hw.temperature", 86.0, "[degF]"),
                of("hw.errors", 3, **{"error.type": "corrected"}),
                of("hw.errors", 4, **{"error.type": "corrected", "hw.type": "network"}),
                of("hw.errors", 5),
            )
        )
        answer = made.take(request(*(of("hw.power", 1.0, "W", **{"hw.id": f"d{i}"}) for i in range(4))))
    first, *others = rows(only(tmp_path), "sample")
    assert first["temperature_c"] == pytest.approx(30.0)
    assert (first["energy_j"], first["ecc_corrected"]) == (7.2e6, 3)
    assert [row["device"] for row in others] == ["d0"]
    assert (answer.rejected, answer.message) == (3, "3 x more than 2 devices at once")
    assert [row["value"] for row in rows(only(tmp_path), "metric")] == [4.0, 5.0]


def test_a_counter_that_tells_what_was_added_is_summed_up_also_by_the_next_receiver(tmp_path):
    def added(joules, at):
        return request(total("hw.energy", point(joules, at, about={"hw.id": "g"}), unit="J", delta=True))

    for batch in ((1, 2), (2, 3)):  # the second receiver gets one again
        with receiver(tmp_path) as made:
            for at in batch:
                made.take(added(10.0 * at, at))
    assert [row["energy_j"] for row in rows(only(tmp_path), "sample")] == [10.0, 30.0, 60.0]


def test_step_times_are_read_from_megatrons_histogram(tmp_path):
    def seen(count, total_ms, at):
        of = {"count": count, "sum": total_ms, "startTimeUnixNano": str(T0), "timeUnixNano": str(T0 + at)}
        data = {"dataPoints": [of], "aggregationTemporality": 2}
        return request({"name": "megatron.training.step_duration_ms", "unit": "ms", "histogram": data})

    with receiver(tmp_path) as made:
        for at, (count, total_ms) in enumerate(((1, 100.0), (3, 400.0), (3, 400.0))):
            made.take(seen(count, total_ms, at))
    assert [row["step_time_s"] for row in rows(only(tmp_path), "step")] == [0.1, 0.15]


def test_a_person_says_what_is_which_column(tmp_path):
    with receiver(tmp_path, ("power_w=my.power", "loss=objective"), ("power_w=kW",)) as made:
        made.take(
            request(gauge("my.power", point(0.25, about={"device": "psu"})), gauge("objective", point(4.0)))
        )
    assert [(row["device"], row["power_w"]) for row in rows(only(tmp_path), "sample")] == [("psu", 250.0)]
    assert [row["loss"] for row in rows(only(tmp_path), "step")] == [4.0]


def test_each_resource_is_a_run_and_run_by_joins_them(tmp_path):
    trainer, sensors = WHO | {"service.name": "trainer"}, {"host.name": "node1"}
    for folder, run_by, names in (
        ("each", None, ["node1", "trainer"]),
        ("joined", "host.name", ["trainer"]),
    ):
        with receiver(tmp_path / folder, run_by=run_by) as made:
            made.take(request(gauge("loss", point(1.0, about={"step": 1})), who=trainer))
            made.take(request(gauge("hw.power", point(2.0, about={"hw.id": "g"})), who=sensors))
        assert sorted(run.name for run in list_runs(tmp_path / folder)) == names


def test_a_receiver_goes_on_with_the_run_of_one_that_was_killed_and_writes_nothing_twice(tmp_path):
    """A step that waited for its norm when the receiver died is there, too; so is a sample."""
    sent = [
        request(gauge("x", *(point(float(i), i) for i in range(50)))),
        request(gauge("hw.power", point(200.0, 1, about={"hw.id": "g"}), unit="W")),
        request(gauge("loss", point(0.5, 1, about={"step": 1}))),
    ]
    run = create_run(tmp_path, "train", _facts(resource_of(sent[0].resource_metrics[0].resource)))
    before = EventWriter(run.path, run.run_id, new_writer_name("r0"), role="recording")
    for i in range(25):
        before.append("metric", T0 + i * 10**9, 0, name="x", value=float(i))
    before.append("sample", T0 + 10**9, 0, device="g", power_w=200.0)
    before.close({"state": "finished", "closed_by": "the receiver's end"})
    held = run.path / "otlp" / "held-node-r0-1-abcdef.jsonl"
    held.parent.mkdir()
    held.write_text(f'[[null, 1, {T0 + 10**9}, "loss", "{(0.5).hex()}", true]]\n[[null, 2, {T0}, "lo')
    with receiver(tmp_path) as made:
        for message in (*sent, *sent):
            made.take(message)
        assert made.counts["written"] == 25  # the held step was acknowledged before
    assert only(tmp_path) == run.path
    assert [row["value"] for row in rows(run.path, "metric")] == [float(i) for i in range(50)]
    assert len(rows(run.path, "sample")) == 1
    assert [(row["step"], row["loss"]) for row in rows(run.path, "step")] == [(1, 0.5)]
    assert not held.exists()


def test_what_a_killed_receiver_held_is_written_by_the_next_one_though_its_sender_never_comes_again(tmp_path):
    """Of two runs of one sender, of which one had ended; until then `show` and `verify` tell of it."""
    facts, paths = _facts(resource_of(request().resource_metrics[0].resource)), []
    for closed_by in ("silence", "the receiver's end"):
        run = create_run(tmp_path, "train", facts)
        writer = EventWriter(run.path, run.run_id, new_writer_name("r0"), role="recording")
        writer.close({"state": "finished", "closed_by": closed_by})
        (run.path / "otlp").mkdir()
        text = f'[[null, 7, {T0}, "loss", "0x1p-1", true], [1, 7, {T0}, "loss", "0x1p0", true]]\n[[nu'
        (run.path / "otlp" / "held-node-r0-1-abcdef.jsonl").write_text(text)
        paths.append(run.path)
        assert "held     2 acknowledged readings" in describe_run(run_facts_shown(run))
        assert "2 acknowledged readings" in describe_verification(verified(run) | outside_the_log(run))
    said = []
    with receiver(tmp_path, say=said.append) as made:
        assert len(made._runs) == 1  # the older one has ended
    for path, state in zip(paths, ("Ending", "Going on with"), strict=True):
        assert [(row["step"], row["loss"]) for row in rows(path, "step")] == [(7, 0.5), (7, 1.0)]
        assert not (path / "otlp").exists()
        assert Run(path).state() == "finished"
        assert any(text.startswith(f"{state} {path.name}") for text in said)


def test_a_step_that_could_not_be_held_is_not_acknowledged_by_its_repetition(tmp_path, monkeypatch):
    message = request(gauge("loss", point(0.5, about={"step": 1})))
    with receiver(tmp_path) as made:
        made.take(request(gauge("x", point(1.0))))
        with monkeypatch.context() as broken:
            broken.setattr("thermograd.ingest.otlp.steps.os.write", lambda *_: 0)
            with pytest.raises(BusyError):
                made.take(message)
        made.take(message)
        (held,) = (only(tmp_path) / "otlp").glob("*.jsonl")
        assert held.read_text().count('"loss"') == 1
    assert [row["loss"] for row in rows(only(tmp_path), "step")] == [0.5]


def test_what_could_not_be_written_comes_again_and_is_written_once(tmp_path, monkeypatch):
    message = request(
        gauge("x", *(point(float(i), i) for i in range(5))),
        gauge("hw.power", *(point(200.0, i, about={"hw.id": "g"}) for i in range(3)), unit="W"),
    )
    with receiver(tmp_path) as made:
        made.take(request(gauge("first", point(1.0))))
        for name in ("append", "append_rows"):
            with monkeypatch.context() as full:
                full.setattr(EventWriter, name, lambda *_, **__: None)
                with pytest.raises(BusyError, match="disk"):
                    made.take(message)
        made.take(message)
    assert [row["value"] for row in rows(only(tmp_path), "metric")] == [1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(rows(only(tmp_path), "sample")) == 3


def test_a_run_ends_when_nothing_comes_and_the_next_reading_begins_another(tmp_path):
    with receiver(tmp_path, idle_s=0.0) as made:
        for at in (1, 2):
            made.take(request(gauge("x", point(1.0, at))))
            wait_until(lambda: not made._runs)
    assert [run.state() for run in list_runs(tmp_path)] == ["finished", "finished"]


def test_hostile_names_and_too_many_of_them_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.otlp.readings._MOST_SERIES", 20)
    monkeypatch.setattr("thermograd.ingest.otlp.receiver._MOST_RUNS", 2)
    who = {"service.name": "../../etc\x1b[31m", "host.name": "a/b\n"}
    with receiver(tmp_path / "runs") as made:
        made.take(request(gauge("x\x00\n" + "y" * 5000, point(1.0, about={"\x1b": "\x07"})), who=who))
        many = made.take(request(*(gauge(f"m{i}", point(1.0)) for i in range(30)), who=who))
        for i in range(4):
            answer = made.take(request(gauge("x", point(1.0)), who={"service.name": f"s{i}"}))
    assert many.rejected == 11
    assert "2 resources" in answer.message
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert len(list_runs(tmp_path / "runs")) == 2
    (first, *_) = list_runs(tmp_path / "runs")
    name = rows(first.path, "metric")[0]["name"]
    assert name.isprintable()
    assert len(name) < 450


def test_an_sdk_that_says_every_step_again_adds_none_and_a_training_that_begins_again_is_told(tmp_path):
    def losses(at, **by_step):
        points = (point(v, at, about={"iteration": int(k[1:])}) for k, v in by_step.items())
        return request(gauge("train.loss", *points))

    with receiver(tmp_path) as made:
        made.take(losses(0, s1=3.0))
        made.take(losses(100, s1=3.0, s5=2.0))
        made.take(losses(200, s1=3.0, s5=2.0, s6=1.0))
        made.take(losses(300, s1=2.5))
    assert [(row["step"], row["loss"]) for row in rows(only(tmp_path), "step")] == [
        (1, 3.0), (5, 2.0), (6, 1.0), (1, 2.5)
    ]  # fmt: skip
    (gap,) = [row for row in rows(only(tmp_path), "mark") if row["mark"] == "gap"]
    assert "began again at step 1" in gap["text"]


def test_a_step_of_several_ranks_in_one_run_is_one_step(tmp_path):
    for step in (1, 2):  # the second receiver goes on with every rank
        with receiver(tmp_path, run_by="job") as made:
            for rank in (0, 1):
                who = {"job": "7", "service.name": f"rank {rank}", "dl.rank": rank}
                made.take(request(gauge("loss", point(1.0 + rank, step, about={"step": step})), who=who))
    (run,) = list_runs(tmp_path)
    summary = run.summary()
    assert (summary["steps"], summary["ranks"], summary["state"]) == (2, 2, "finished")


def test_this_machines_devices_are_sampled_into_its_own_runs_only(tmp_path):
    here = {"service.name": "trainer"}
    with receiver(tmp_path, hz=10.0) as made:
        for who in (here, WHO):
            made.take(request(gauge("loss", point(1.0, about={"step": 1})), who=who))
        ours = next(run for run in list_runs(tmp_path) if run.name == "trainer")
        wait_until(lambda: len(rows(ours.path, "sample")) >= 2)
    found = {run.name: run for run in list_runs(tmp_path)}
    assert len(rows(found["trainer"].path, "sample")) >= 2
    assert "cpu" in found["trainer"].facts["devices"]
    assert rows(found["train"].path, "sample") == []
    assert found["train"].facts["devices"] == {}
    assert not (found["train"].path / "otlp").exists()
