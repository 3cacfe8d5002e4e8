"""``run.log``: any value, any name, any time; nothing raises, nothing is lost without being counted."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import thermograd
from thermograd.ingest.job.metrics import LONGEST_NAME, LONGEST_TEXT, MOST_NAMES
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.metrics import last_metrics, read_metrics


@pytest.fixture
def run(tmp_path):
    with thermograd.start_run("m", tmp_path, agent=False) as run:
        yield run


def rows(run):
    table = read_kind(run.path, "metric").select(["step", "name", "value", "text"])
    return [tuple(row.values()) for row in table.to_pylist()]


def left_out(run):
    """Return what the run's end says was left out, by reason."""
    run.close()
    details = [d for d in read_kind(run.path, "mark")["detail"].to_pylist() if d and "left_out" in d]
    return json.loads(details[-1])["values_left_out"] if details else {}


def one(value):
    """Return a number of torch; skip where that is not installed."""
    return pytest.importorskip("torch").tensor(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.5, 0.5),
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.25), 0.25),
        (np.int64(-7), -7.0),
        (np.bool_(False), 0.0),
        (np.array(2.5), 2.5),
        (np.array([[4]]), 4.0),
        (np.float16(1.5), 1.5),
        (Decimal("0.125"), 0.125),
        (Fraction(1, 4), 0.25),
        (-math.inf, -math.inf),
        (2**70, float(2**70)),
    ],
    ids=repr,
)
def test_a_number_of_any_kind_is_a_number(run, value, number):
    run.log({"x": value}, step=3)
    assert rows(run) == [(3, "x", number, None)]


def test_a_number_of_torch_is_a_number(run):
    run.log({"a": one(1.5), "b": one([2]), "c": one(True), "d": one(3.0).requires_grad_()})
    assert [row[2] for row in rows(run)] == [1.5, 2.0, 1.0, 3.0]


def test_nan_none_and_texts_are_what_they_are(run):
    run.log({"a": math.nan, "b": None, "c": "fine", "d": "x" * 5000, "e": "\ud800"})
    found = {name: (value, text) for _, name, value, text in rows(run)}
    assert math.isnan(found["a"][0])
    assert found["b"] == (None, None)
    assert found["c"] == (None, "fine")
    assert found["d"] == (None, "x" * LONGEST_TEXT + "…")
    assert found["e"] == (None, "?")
    assert run.values_left_out == 1


class Endless(Mapping):
    def __getitem__(self, key):
        return 1.0

    def __iter__(self):
        return map(str, itertools.count())

    def __len__(self):
        return 3


class Raises:
    def __getattribute__(self, name):
        raise RuntimeError("do not look at me")

    def __repr__(self):
        raise RuntimeError("nor ask")


class OddNumber(float):
    def __float__(self):
        raise RuntimeError("no")

    __repr__ = __str__ = __float__


def test_what_is_nested_is_named_with_slashes_by_any_dictionary(run):
    run.log(OrderedDict({"eval": {"loss": 2, "by": {"class": {0: 0.5}}}, "flat/name": 1}))
    assert [name for _, name, _, _ in rows(run)] == ["eval/loss", "eval/by/class/0", "flat/name"]


@pytest.mark.parametrize(
    "value",
    [[1, 2], (1,), {1, 2}, np.zeros((4, 4)), b"bytes", 1j, object(), 10**400, print, np.array("a")],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_left_out_counted_and_its_neighbours_stay(run, value, caplog):
    for _ in range(3):
        run.log({"before": 1.0, "odd": value, "after": 2.0})
    assert [name for _, name, _, _ in rows(run)] == ["before", "after"] * 3
    assert sum(left_out(run).values()) == 3
    assert sum("left out" in record.message for record in caplog.records) == 1


def test_a_value_that_raises_when_it_is_looked_at_harms_nobody(run):
    run.log({"before": 1.0, "odd": Raises(), Raises(): 3, "after": 2.0})
    assert [name for _, name, _, _ in rows(run)] == ["before", "after"]
    assert left_out(run) == {"metric value": 2}


def test_a_text_that_numpy_holds_is_no_reason_to_stop(run):
    run.log({"a": np.array("x"), "b": np.str_("y"), "c": OddNumber(1.0)})
    assert (None, "b", None, "y") in rows(run)


def test_names_of_any_kind_are_texts_and_odd_ones_are_left_out(run):
    run.log({5: 1, None: 2, (1, 2): 3, "": 4, "n" * (LONGEST_NAME + 1): 5, "<b>\n": 6, "n" * LONGEST_NAME: 7})
    assert [name for _, name, _, _ in rows(run)] == ["5", "None", "(1, 2)", "<b>\n", "n" * LONGEST_NAME]
    assert left_out(run) == {"metric name": 2}


def test_dictionaries_inside_themselves_and_without_an_end_come_to_one(run):
    inside = {"x": 1}
    inside |= {str(i): inside for i in range(20)}
    run.log(inside)
    run.log({"endless": Endless()})
    run.log(Endless())
    count = len(rows(run))
    assert 0 < count <= 3 * MOST_NAMES
    assert set(left_out(run)) >= {"metrics of one call"}


def test_more_names_than_a_run_may_have_are_counted(run):
    run.log({f"a{i}": float(i) for i in range(MOST_NAMES)})
    run.log({"one too many": 1.0, "a5": 6.0})
    assert len(rows(run)) == MOST_NAMES + 1
    assert rows(run)[-1][1:3] == ("a5", 6.0)
    assert run.values_left_out == 1


@pytest.mark.parametrize(
    "given", [5, "loss", [1], [("a", 1)], object()], ids=lambda given: type(given).__name__
)
def test_what_is_no_dictionary_is_said(run, given, caplog):
    run.log(given)
    run.log(given, extra=1)
    run.log(alone=1.0)
    assert (None, "alone", 1.0, None) in rows(run)
    assert "dictionary" in caplog.text or "could not record" in caplog.text


@pytest.mark.parametrize(
    ("given", "named", "row"),
    [
        (("accuracy", 0.3), {}, (1, "accuracy", 0.3, None)),
        (("accuracy", 0.3, 7), {}, (7, "accuracy", 0.3, None)),
        (("accuracy", 0.3), {"step": 7}, (7, "accuracy", 0.3, None)),
        (("accuracy",), {"value": 0.3, "step": 7}, (7, "accuracy", 0.3, None)),
        (("stage", "warm-up"), {}, (1, "stage", None, "warm-up")),
        (({"accuracy": 0.3}, 7), {}, (7, "accuracy", 0.3, None)),
        ((), {"value": 0.3}, (1, "value", 0.3, None)),
    ],
    ids=repr,
)
def test_one_number_may_be_given_by_its_name(run, given, named, row):
    run.step(loss=1.0)
    run.log(*given, **named)
    assert rows(run) == [row]
    assert left_out(run) == {}


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        (
            ("accuracy",),
            {},
            "run.log was given 'accuracy'; allowed: a dictionary of numbers, as in run.log({",
        ),
        (("accuracy",), {"step": 7}, "or a name and a number"),
        (("accuracy",), {"other": 7}, "run.log was given 'accuracy'"),
        ((0.3,), {}, 'as in run.log({"accuracy": 0.3})'),
        (("accuracy", 0.3, 7, 8), {}, 'given 8 too many; call it as run.log({"accuracy": 0.3}, step=7)'),
        (({"accuracy": 0.3}, 7, 8), {}, "given 8 too many"),
        (("accuracy", 0.3, 8), {"step": 7}, "given 8 too many"),
    ],
    ids=repr,
)
def test_a_call_of_another_form_is_told_the_right_one_and_raises_nothing(run, given, named, said, caplog):
    run.log(*given, **named)
    assert said in caplog.text
    assert rows(run) == ([(7, "accuracy", 0.3, None)] if "too many" in said else [])
    assert run.values_left_out == 1


def test_a_step_is_the_given_one_or_the_last_that_was_logged(run):
    run.log({"a": 1})
    run.step(loss=1.0)
    run.log({"a": 2})
    run.step(loss=1.0, step=40)
    run.log({"a": 3})
    run.log({"a": 4}, step=7)
    run.log({"a": 5}, step=np.int32(6))
    run.log({"a": 6}, step=-1)
    run.log({"a": 7}, step="three")
    assert [step for step, *_ in rows(run)] == [None, 1, 40, 7, 6, None, None]
    assert left_out(run) == {"metric step": 2}


def log_after_each_of_three_steps(run):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    run.watch(optimizer)
    for _ in range(3):
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        run.log(a=1.0)


def test_a_step_that_the_tap_has_seen_is_the_last_one(run):
    log_after_each_of_three_steps(run)
    assert [step for step, *_ in rows(run)] == [1, 2, 3]


def test_a_step_whose_values_are_still_on_a_device_is_the_last_one(run, monkeypatch):
    pytest.importorskip("torch")
    from thermograd.ingest.capture.readback import Readback

    monkeypatch.setattr(Readback, "ready", lambda self: False)
    log_after_each_of_three_steps(run)
    assert len(read_kind(run.path, "step")) == 0
    assert [step for step, *_ in rows(run)] == [1, 2, 3]
    run.close()
    assert read_kind(run.path, "step")["step"].to_pylist() == [1, 2, 3]


class OnDevice:
    """A number that looks as torch's does on a GPU; to ask for it would wait for the device."""

    device = type("Device", (), {"type": "cuda"})()

    def numel(self):
        return 1

    def item(self):
        raise AssertionError("this waits for the device")

    __float__ = item


OnDevice.__module__ = "torch"


class Slow:
    def __init__(self, names, fails=False):
        self.names, self.fails, self.there = names, fails, False

    def ready(self):
        if self.fails:
            raise RuntimeError("device lost")
        return self.there

    def values(self):
        return dict.fromkeys(self.names, 0.5)


def test_a_number_on_a_device_is_not_waited_for_and_keeps_its_time_and_step(run):
    begun = []
    run._recorder.metrics.read_back = lambda tensors: begun.append(Slow(list(tensors))) or begun[-1]
    run.log({"gpu": OnDevice(), "cpu": 1.0}, step=1)
    run.log({"cpu": 2.0}, step=2)
    assert [row[1] for row in rows(run)] == ["cpu", "cpu"]
    begun[0].there = True
    run.step(loss=1.0)
    assert rows(run)[-1] == (1, "gpu", 0.5, None)
    times = read_kind(run.path, "metric")["time_ns"].to_pylist()
    assert times[0] == times[2] < times[1]


def test_numbers_still_on_a_device_at_the_end_are_written_and_a_lost_device_is_counted(run):
    run._recorder.metrics.read_back = lambda tensors: Slow(list(tensors))
    run.log({f"g{i}": OnDevice() for i in range(40)})
    run.close()
    assert len(rows(run)) == 40


def test_a_device_that_fails_takes_its_numbers_only(run):
    run._recorder.metrics.read_back = lambda tensors: Slow(list(tensors), fails=True)
    run.log({"gpu": OnDevice(), "other": OnDevice(), "cpu": 1.0})
    run.log({"cpu": 2.0})
    assert [row[1] for row in rows(run)] == ["cpu", "cpu"]
    assert left_out(run) == {"metric on a device": 2}


def test_threads_log_side_by_side_and_every_value_is_there_once(run):
    def log(name):
        for i in range(300):
            run.log({f"{name}/a": i, f"{name}/b": -i}, step=i)

    threads = [threading.Thread(target=log, args=(name,)) for name in "wxyz"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    run.close()
    found = rows(run)
    assert sorted(found) == sorted(
        (i, f"{name}/{part}", float(sign * i), None)
        for name in "wxyz"
        for part, sign in (("a", 1), ("b", -1))
        for i in range(300)
    )
    assert verify_run(run.path)["ok"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_worker_records_nothing_and_harms_nothing(run):
    run.log(a=1.0)
    child = os.fork()
    if child == 0:
        run.log(a=2.0)
        os._exit(0)
    os.waitpid(child, 0)
    run.log(a=3.0)
    assert [value for *_, value, _ in rows(run)] == [1.0, 3.0]


def test_after_the_end_nothing_is_recorded_and_nothing_raises(run):
    run.log(a=1.0)
    run.close()
    run.log(a=2.0)
    assert [value for *_, value, _ in rows(run)] == [1.0]


def test_a_run_that_records_nothing_takes_values(monkeypatch, tmp_path):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    run = thermograd.start_run("off", tmp_path, config={"a": 1})
    run.log({"a": 1})
    run.configure(b=2)
    run.close()


def test_many_values_are_whole_live_sealed_and_sealed_again(run):
    for i in range(900):
        run.log({"a": float(i), "b": str(i), "c": None}, step=i)
    before = sorted(rows(run), key=str)
    run.close()
    assert sorted(rows(run), key=str) == before
    assert seal_run(run.path, run.run_id).events["metric"] == 2700
    assert sorted(rows(run), key=str) == before
    assert verify_run(run.path)["events"]["metric"] == 2700
    assert read_kind(run.path, "metric")["seq"].to_pylist() == list(range(2700))


def test_series_are_by_name_in_time_order_and_of_the_lowest_rank(run):
    for i in (5, 3, 4):
        run.log({"a": i, "text": "t"}, step=i)
    run._recorder.metrics._rank = 1
    run.log({"a": 9, "only/here": 1.0})
    series = read_metrics(Run(run.path))
    assert list(series) == ["a", "only/here"]
    assert series["a"].value.tolist() == [5.0, 3.0, 4.0]
    assert series["a"].step.tolist() == [5.0, 3.0, 4.0]
    assert math.isnan(series["only/here"].step[0])
    last = last_metrics(Run(run.path))
    assert (last["a"].value, last["a"].step, last["a"].logged) == (4.0, 4, 4)
    assert (last["text"].text, last["text"].logged) == ("t", 3)


def test_a_run_without_metrics_has_none(run):
    assert read_metrics(Run(run.path)) == {}
    assert last_metrics(Run(run.path)) == {}


_LOGS = """
    import sys, thermograd
    run = thermograd.start_run("k", sys.argv[1], agent=False)
    for i in range(10**6):
        run.log({f"m{j}": float(i) for j in range(10)}, step=i)
        print(i, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("acknowledged", [1, 150, 1200])
def test_a_killed_process_loses_no_value_that_was_acknowledged(tmp_path, acknowledged):
    command = [sys.executable, "-c", textwrap.dedent(_LOGS), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for _ in range(acknowledged):
            last = int(child.stdout.readline())
        child.kill()
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
    (path,) = tmp_path.glob("*-k-*")
    steps = read_kind(path, "metric")["step"].to_pylist()
    assert all(steps.count(i) == 10 for i in {0, last // 2, last})
    assert len(steps) >= 10 * (last + 1)
