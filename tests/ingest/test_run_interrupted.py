"""Ctrl-C, and what a signal handler raises, anywhere in a public call: it comes out, and the run is whole."""

import copy
import logging
import pickle
import random
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import thermograd
from thermograd.ingest.job.ends import ending
from thermograd.store.failures import Guard
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.runs.catalogue import Run

ROOT = Path(thermograd.__file__).parent
OURS = tuple(
    str(ROOT / room) for room in ("store", "ingest", "stream")
)  # not an environment that lies beside


class Late(Exception):
    pass


KINDS = (KeyboardInterrupt, Late, TimeoutError)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("thermograd").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("thermograd").setLevel(logging.NOTSET)


def interrupted(call, at, kind):
    """Call, and raise at the so manieth bytecode of ours; whether it was raised, and whether it came back."""
    seen, raised, reached = 0, False, False

    def look(frame, event, argument):
        nonlocal seen, raised
        seen += 1
        if seen == at:
            raised = True
            sys.settrace(None)
            raise kind
        return look

    def tracer(frame, event, argument):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        return look(frame, event, argument)

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        call()
    except kind:
        reached = True
    finally:
        sys.settrace(before)
    return raised, reached


def marks(run):
    return [row["mark"] for row in read_kind(run.path, "mark").to_pylist()]


CALLS = {
    "step": (400, lambda run: run.step(loss=1.0, tokens=5)),
    "a bad step": (2500, lambda run: run.step(loss="x", step=-1)),
    "mark": (1200, lambda run: run.mark("m", a=1, b=[object()], c={"d": (1, 2)})),
    "close": (900, lambda run: run.close()),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_at_any_bytecode_reaches_the_user_and_loses_nothing(tmp_path, name):
    last, call = CALLS[name]
    draw = random.Random(name)
    for _ in range(25):
        run = thermograd.start_run(runs=tmp_path, agent=False)
        run.step(loss=0.0)
        raised, reached = interrupted(lambda run=run: call(run), draw.randint(1, last), draw.choice(KINDS))
        assert reached == raised
        after = run.is_open
        run.step(loss=2.0)
        run.close()
        losses = read_kind(run.path, "step")["loss"].to_pylist()
        assert [loss for loss in losses if loss in (0.0, 2.0)] == ([0.0, 2.0] if after else [0.0])
        assert marks(run).count("run_ended") >= 1
        assert Run(run.path).state() == "finished"
        assert verify_run(run.path)["ok"]
        seal_run(run.path, run.run_id)
        assert read_kind(run.path, "step")["loss"].to_pylist() == losses


def test_an_interrupt_while_a_run_starts_reaches_the_user_and_the_next_one_starts(tmp_path):
    draw = random.Random(0)
    for _ in range(25):
        raised, reached = interrupted(
            lambda: thermograd.start_run(runs=tmp_path, agent=False).close(),
            draw.randint(1, 3000),
            draw.choice(KINDS),
        )
        assert reached == raised
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
    assert len(read_kind(run.path, "step")) == 1


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_storm_of_signals_reaches_the_user_and_loses_nothing(tmp_path):
    draw, rung, reached, acknowledged = random.Random(1), 0, 0, 0

    def ring(number, frame):
        nonlocal rung
        rung += 1
        raise draw.choice(KINDS)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        run = thermograd.start_run(runs=tmp_path, agent=False)
        for _ in range(150):
            seen = rung
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + draw.random() * 5e-3)
                while rung == seen:
                    run.step(loss=1.0)
                    acknowledged += 1
                    run.mark("m", a=[1, {"b": 2}])
            except KINDS:
                reached += 1
        run.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert reached == rung == 150
    assert acknowledged <= len(read_kind(run.path, "step")) <= acknowledged + 150
    assert run.lost == 0
    assert verify_run(run.path)["ok"]


def interrupted_first(do, times):
    """Return a function that Ctrl-C interrupts so many times before it does something."""
    left = [times]

    def call(*arguments):
        if left[0]:
            left[0] -= 1
            raise KeyboardInterrupt
        do(*arguments)

    return call


def test_an_end_that_is_interrupted_again_and_again_is_completed_at_the_exit(tmp_path, monkeypatch):
    run = thermograd.start_run(runs=tmp_path, agent=False)
    run.step(loss=1.0)
    writer = run._recorder.writer
    monkeypatch.setattr(writer, "close", interrupted_first(writer.close, 2))
    with pytest.raises(KeyboardInterrupt):
        run.close()
    assert Run(run.path).state() == "live"
    ending._keep_promises()
    assert Run(run.path).state() == "finished"


@pytest.mark.parametrize("own", [KeyError("x"), KeyboardInterrupt(), SystemExit(2)])
def test_what_ends_the_block_comes_out_of_it_whatever_fails_at_the_end(tmp_path, own):
    run = thermograd.start_run(runs=tmp_path, agent=False)
    writer = run._recorder.writer
    close, writer.close = writer.close, lambda *ended: 1 / 0
    with pytest.raises(type(own)) as caught, run:
        raise own
    assert caught.value is own
    close()


@pytest.mark.parametrize("own", [KeyError("x"), KeyboardInterrupt()])
def test_ctrl_c_while_a_block_ends_with_an_exception_ends_the_wait_and_is_not_chained(tmp_path, own):
    run = thermograd.start_run(runs=tmp_path, agent=False)
    run.step(loss=1.0)
    thread, left = run._recorder.writer._thread, [3]
    join = thread.join

    def interrupt(timeout):
        if left[0]:
            left[0] -= 1
            raise KeyboardInterrupt
        waited.append(timeout)
        join(timeout)

    waited = []
    thread.join = interrupt
    with pytest.raises(type(own)) as caught, run:
        raise own
    assert caught.value is own
    assert own.__context__ is None
    assert waited[0] <= 1.0
    assert not run.is_open
    assert len(read_kind(run.path, "step")) == 1
    assert verify_run(run.path)["ok"]


def test_ctrl_c_at_the_exit_is_for_nobody(tmp_path):
    run = thermograd.start_run(runs=tmp_path, agent=False)
    writer = run._recorder.writer
    writer.close = interrupted_first(writer.close, 3)
    ending._keep_promises()
    assert Run(run.path).state() == "finished"


def test_an_exception_that_cannot_say_what_it_is_is_marked_and_passed_on(tmp_path):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    with pytest.raises(Mute), thermograd.start_run(runs=tmp_path, agent=False) as run:
        raise Mute
    assert "Mute: Mute without a text" in read_kind(run.path, "mark")["text"].to_pylist()


def test_a_signal_handler_may_step_mark_and_close(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        fit = run._recorder._fitted

        def interrupt(kind, row):
            run._recorder._fitted = fit
            run.step(loss=2.0)
            run.mark("within")
            run.close()
            return fit(kind, row)

        run._recorder._fitted = interrupt
        run.step(loss=1.0)
    assert [row["loss"] for row in read_kind(run.path, "step").to_pylist()] == [2.0]
    assert marks(run) == ["run_started", "within", "run_ended"]


def test_a_logging_handler_that_writes_marks_does_not_recurse(tmp_path):
    class Writes(logging.Handler):
        def emit(self, record):
            run.mark("note", text=record.getMessage())
            run.step(loss="no number either", grad_norm=object())

    logging.getLogger("thermograd").setLevel(logging.NOTSET)
    handler = Writes()
    logging.getLogger("thermograd").addHandler(handler)
    try:
        with thermograd.start_run(runs=tmp_path, agent=False) as run:
            for _ in range(3):
                run.step(loss="abc")
    finally:
        logging.getLogger("thermograd").removeHandler(handler)
    assert run.lost == 0
    assert len(read_kind(run.path, "step")) > 3


def test_many_threads_may_log_and_close(tmp_path):
    run = thermograd.start_run(runs=tmp_path, agent=False)

    def together(work):
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    together(lambda: [run.step(loss=1.0) for _ in range(200)])
    together(run.close)
    assert sorted(read_kind(run.path, "step")["step"].to_pylist()) == list(range(1, 1201))
    assert marks(run).count("run_ended") == 1


def test_threads_that_end_at_once_end_once_and_return_when_it_is_done():
    done, at_once = [], threading.Barrier(4)

    def part(number):
        threading.Event().wait(0.05)
        done.append(number)

    end = ending.Ending([partial(part, number) for number in range(3)], Guard("%(error)s"))
    seen = []

    def work():
        at_once.wait()
        end.do()
        seen.append(list(done))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[0, 1, 2]] * 4


def test_a_run_that_is_sent_to_another_process_records_nothing_there_and_a_copy_is_the_same(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        elsewhere = pickle.loads(pickle.dumps(run))
        elsewhere.step(loss=1.0)
        elsewhere.mark("m")
        elsewhere.close()
        assert elsewhere.path is None
        assert copy.deepcopy({"run": run})["run"] is run
        assert copy.copy(run) is run
    assert len(read_kind(run.path, "step")) == 0


def test_at_the_end_of_the_stack_nothing_of_ours_is_raised(tmp_path):
    run = thermograd.start_run(runs=tmp_path, agent=False)
    depth = []

    def fall(level):
        depth[:] = [level]
        run.step(loss="x")
        run.mark("m", deep=[[1]])
        fall(level + 1)

    with pytest.raises(RecursionError):
        fall(0)
    run.step(loss=3.0)
    run.close()
    assert depth[0] > 100
    assert read_kind(run.path, "step")["loss"].to_pylist()[-1] == 3.0
    assert verify_run(run.path)["ok"]
