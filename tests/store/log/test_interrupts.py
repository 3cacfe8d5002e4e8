"""Whatever interrupts an append, and wherever: the log stays whole, and the interrupt reaches the user."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from interrupting import at_bytecode, raising
from thermograd.store.log import writer as log_module
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.writer import EventWriter


class Stop(Exception):
    """What a user's alarm may raise; no thermograd guard may keep it."""


def check(run_dir, writer, acknowledged, attempted):
    """Every acknowledged event is there once, in the order of the calls; before and after sealing."""
    writer.close()
    before = read_kind(run_dir, "step")
    verified = verify_run(run_dir)
    assert verified["ok"], [entry for entry in verified["files"] if "reason" in entry]
    report = seal_run(run_dir, "r")
    assert not report.damage
    assert verify_run(run_dir)["ok"]
    after = read_kind(run_dir, "step")
    assert after.to_pylist() == before.to_pylist()
    assert after["seq"].to_pylist() == list(range(len(after)))
    steps = after["step"].to_pylist()
    assert len(set(steps)) == len(steps)
    assert set(acknowledged) <= set(steps) <= set(attempted)


def interrupted_by_trace(writer, numbers, at, error):
    """Append; raise `error` at the bytecode with the number `at` that runs in the log's own code."""
    done = []
    with at_bytecode(at, raising(error)):
        for number in numbers:
            if writer.append("step", step=number) is not None:
                done.append(number)
    return done


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop, TimeoutError])
def test_an_exception_at_any_bytecode_of_an_append_reaches_the_user_and_harms_nothing(run_dir, error):
    """Batches are short, so that the change from one file to the next is interrupted as well."""
    writer = EventWriter(run_dir, "r", "w", batch_rows=4)
    draw, number, acknowledged = random.Random(5), 0, []
    for at in (*range(1, 240), *(draw.randint(1, 900) for _ in range(110))):
        numbers = []
        try:
            acknowledged += interrupted_by_trace(writer, iter_and_keep(number, numbers), at, error())
        except error:
            pass
        else:
            assert at > 240, "the log's code has fewer bytecodes than this"
        acknowledged += numbers[:-1]
        number += len(numbers)
        if at % 7 == 0:
            writer._streams["step"].prepare()
    assert writer.lost == 0
    check(run_dir, writer, acknowledged, range(number))


def iter_and_keep(start, kept):
    for number in range(start, start + 12):
        kept.append(number)
        yield number


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this platform")
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_a_storm_of_alarms_reaches_the_user_and_harms_nothing(run_dir, error):
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    raised = caught = number = 0
    acknowledged, attempted = [], []

    def alarm(signum, frame):
        nonlocal raised
        raised += 1
        raise error

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        while caught < 300:
            number += 1
            try:
                attempted.append(number)
                signal.setitimer(signal.ITIMER_REAL, 2e-5 * (1 + number % 23))
                while raised == caught:  # else one that went unseen would be waited for without end
                    if writer.append("step", step=number) is not None:
                        acknowledged.append(number)
                    number += 1
                    attempted.append(number)
            except error:
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught == raised
    assert writer.lost == 0
    check(run_dir, writer, acknowledged, attempted)


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this platform")
def test_a_signal_handler_that_logs_is_an_append_like_any_other(run_dir):
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    marks, steps = [], []

    def alarm(signum, frame):
        for _ in range(3):
            seq = writer.append("step", step=1_000_000 + len(marks))
            assert seq is not None
            marks.append(1_000_000 + len(marks))
        if len(marks) < 900:
            signal.setitimer(signal.ITIMER_REAL, 2e-5 * (1 + len(marks) % 19))

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        while len(marks) < 900:
            assert writer.append("step", step=len(steps)) is not None
            steps.append(len(steps))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert writer.lost == 0
    check(run_dir, writer, steps + marks, steps + marks)


def test_an_append_from_within_an_append_at_any_bytecode_harms_nothing(run_dir):
    """What a signal handler does, at every place where the interpreter could let it in."""
    writer = EventWriter(run_dir, "r", "w", batch_rows=4)
    nested, outer = [], []
    for at in range(1, 260):

        def handle(times=1 + at % 6):
            for _ in range(times):
                nested.append(1_000_000 + len(nested))
                assert writer.append("step", step=nested[-1]) is not None

        with at_bytecode(at, handle):
            for _ in range(2):
                outer.append(len(outer))
                assert writer.append("step", step=outer[-1]) is not None
        if at % 5 == 0:
            writer._streams["step"].prepare()
    check(run_dir, writer, outer + nested, outer + nested)


def test_appends_of_many_threads_are_all_there_and_a_follower_sees_each_once(run_dir):
    writer = EventWriter(run_dir, "r", "w", batch_rows=16)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    follower, seen, done = Follower(run_dir, ("step",)), [], threading.Event()

    def follow():
        while True:
            last = done.is_set()
            seen.extend(event.values["step"] for event in follower.poll())
            if last:
                return

    def append(base):
        for i in range(1500):
            assert writer.append("step", step=base + i) is not None

    threads = [threading.Thread(target=append, args=(base,)) for base in (0, 10_000, 20_000)]
    watcher = threading.Thread(target=follow)
    try:
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
        done.set()
        watcher.join()
    expected = [base + i for base in (0, 10_000, 20_000) for i in range(1500)]
    assert sorted(seen) == expected
    check(run_dir, writer, expected, expected)


def test_appends_do_not_wait_for_a_file_that_is_slow_to_open(run_dir, monkeypatch):
    """While the log's own thread waits for the disk, appends go on, without end if need be."""
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    opened, goes_on = threading.Event(), threading.Event()
    open_file = os.open

    def slow(*args, **kwargs):
        if threading.current_thread() is writer._thread:
            opened.set()
            assert goes_on.wait(60)
        return open_file(*args, **kwargs)

    monkeypatch.setattr(log_module.os, "open", slow)
    writer.append("step", step=0)
    writer._wake.put(None)
    assert opened.wait(60)
    for i in range(1, 500):
        assert writer.append("step", step=i) == i
    goes_on.set()
    check(run_dir, writer, range(500), range(500))


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("when", range(4))
def test_ctrl_c_in_a_process_ends_it_and_leaves_a_whole_log(run_dir, when):
    script = textwrap.dedent(
        f"""
        import os
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        writer = EventWriter(Path({str(run_dir)!r}), "r", "w", batch_rows=32)
        step = -1
        try:
            while True:
                step += 1
                assert writer.append("step", step=step) is not None
                if step % 100 == 0:
                    os.write(1, b"x")
        except KeyboardInterrupt:
            os.write(1, b"\\n%d" % step)
            writer.close()
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1 + 3 * when)
    time.sleep(0.001 * when)
    process.send_signal(signal.SIGINT)
    step = int(process.communicate()[0].split(b"\n")[-1])
    assert process.returncode == 0
    steps = read_kind(run_dir, "step")["step"].to_pylist()
    assert steps in (list(range(step)), list(range(step + 1)))
    assert not seal_run(run_dir, "r").damage
    assert verify_run(run_dir)["ok"]
    assert read_kind(run_dir, "step")["step"].to_pylist() == steps
