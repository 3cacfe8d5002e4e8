import json
import threading
import time
from types import SimpleNamespace

import pytest
from thermograd.ingest.agent import sampler as sampler_module, silence
from thermograd.ingest.agent.sampler import Account, ClockWatch, Sampler
from thermograd.ingest.agent.silence import SilenceLimits


@pytest.fixture(autouse=True)
def _a_busy_machine_changes_nothing(monkeypatch):
    """Each reader is waited for; one that hung until its test's end does not meet the clock of the next."""
    monkeypatch.setattr(sampler_module, "_FIRST_READING_S", 60.0)
    monkeypatch.setattr(sampler_module, "_HANGING_READER_S", 60.0)
    yield
    for thread in threading.enumerate():
        if thread.name.endswith("(_sample)"):
            thread.join(60)
            assert not thread.is_alive()


class Log:
    """A writer that keeps events in memory."""

    def __init__(self):
        self.events = []

    def append(self, kind, **values):
        self.events.append((kind, values))

    def samples(self, device):
        return [v for kind, v in self.events if kind == "sample" and v["device"] == device]

    def marks(self, mark):
        return [v for kind, v in self.events if kind == "mark" and v["mark"] == mark]


class Reader:
    """One device; `each` is called at each reading."""

    def __init__(self, device, each=lambda: None):
        self.device, self.each, self.happened, self.closed = device, each, [], False

    def read(self):
        self.each()
        return [{"device": self.device, "power_w": 1.0}]

    def marks(self):
        happened, self.happened = self.happened, []
        return happened

    def take_failures(self):
        return 2

    def close(self):
        self.closed = True


def run_until(condition, *readers, hz=50.0):
    """Sample until a condition on the log holds; return the log. That this process did not run is no gap."""
    log, stop = Log(), threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silence, "_PAUSE_NS", 1 << 62)
        sampler = Sampler(list(readers), log, hz, SilenceLimits(periods=1e9))
        thread = threading.Thread(target=sampler.run, args=(stop,))
        thread.start()
        try:
            end = time.monotonic() + 60
            while not condition(log):
                assert time.monotonic() < end
                time.sleep(0.005)
        finally:
            stop.set()
            thread.join()
    return log


def test_each_reader_is_sampled_and_closed_and_the_account_is_written(monkeypatch):
    monkeypatch.setattr(sampler_module, "_LEAST_APART_S", 60.0)  # none is read beside the schedule
    one, two = Reader("one"), Reader("two")
    log = run_until(lambda log: min(len(log.samples("one")), len(log.samples("two"))) > 1, one, two)
    assert log.samples("one")[0]["read_us"] >= 0
    assert one.closed
    assert two.closed
    (note,) = log.marks("note")
    account = json.loads(note["detail"])
    assert account["ticks"] == len(log.samples("one")) + len(log.samples("two"))
    assert account["failed_reads"] == 4
    assert {
        "late_p50_ms",
        "late_p95_ms",
        "late_max_ms",
        "longest_read_ms",
        "cpu_s",
        "rss_mib",
    } <= account.keys()


def test_a_driver_that_hangs_blinds_no_other_device_and_is_not_shut_down_under_itself(monkeypatch):
    monkeypatch.setattr(sampler_module, "_FIRST_READING_S", 0.1)
    release = threading.Event()
    hanging, healthy = Reader("hanging", release.wait), Reader("healthy")
    close = healthy.close

    def close_and_wait_no_more():  # the healthy one has all the time that it needs to end
        close()
        monkeypatch.setattr(sampler_module, "_HANGING_READER_S", 0.01)

    healthy.close = close_and_wait_no_more
    try:
        log = run_until(lambda log: len(log.samples("healthy")) >= 5, healthy, hanging)
    finally:
        release.set()
    assert log.samples("hanging") == []
    assert [gap["text"] for gap in log.marks("gap")] == ["Reader hangs in its driver"]
    assert not hanging.closed
    assert healthy.closed


def test_a_reader_that_raises_is_marked_once_counted_and_tried_again(caplog):
    calls = []

    def fail():
        calls.append(1)
        if len(calls) <= 3:
            raise OSError("no answer")

    log = run_until(lambda log: log.samples("x"), Reader("x", fail))
    (gap,) = log.marks("gap")
    assert "no answer" in gap["text"]
    assert json.loads(log.marks("note")[0]["detail"])["failed_reads"] == 3 + 2
    assert caplog.text.count("no answer") == 1


def test_what_a_reader_says_has_happened_is_logged():
    reader = Reader("x")
    reader.happened.append({"mark": "error", "text": "GPU-1: XID 79"})
    log = run_until(lambda log: log.marks("error"), reader)
    assert [mark["text"] for mark in log.marks("error")] == ["GPU-1: XID 79"]


def test_the_shortest_run_has_a_reading_at_its_start_and_one_at_its_end():
    """The end is there before the first tick, and the next tick would be ten seconds later."""
    log, stop, times_ns = Log(), threading.Event(), []
    stop.set()
    sampler = Sampler([Reader("x", lambda: times_ns.append(time.monotonic_ns()))], log, 0.1)
    assert sampler.run(stop) == 2
    assert len(log.samples("x")) == 2
    assert times_ns[1] - times_ns[0] >= 0.1e9, "meters that count have had the time to"


def test_a_last_reading_comes_at_the_end_where_the_tick_before_it_was_long_ago():
    log, stop, clock = Log(), threading.Event(), []
    sampler = Sampler([Reader("x", lambda: clock.append(1))], log, 0.1)
    sampler.start()
    assert len(clock) == 1, "it has been read when `start` returns"
    threading.Timer(0.2, stop.set).start()
    assert sampler.run(stop) == 2


def test_ticks_are_due_on_a_fixed_grid_and_missed_ones_are_skipped(monkeypatch):
    """A reading of two and a half periods makes the next one due at the third tick, not right after it.

    On a clock of our own, which goes on only where somebody waits or reads; every wake-up is 3 ms late.
    """
    clock, begun = [10**12], []
    monkeypatch.setattr(
        sampler_module,
        "time",
        SimpleNamespace(
            monotonic_ns=lambda: clock[0], monotonic=lambda: clock[0] / 1e9, process_time=time.process_time
        ),
    )

    def wait(seconds):
        clock[0] += round(seconds * 1e9) + 3_000_000
        return False

    def each():
        begun.append(clock[0])
        clock[0] += 250_000_000 if len(begun) == 2 else 1_000_000

    log = Log()
    sampler = Sampler([Reader("x", each)], log, 10.0)
    first_ns = sampler.schedule["first_due_monotonic_ns"]
    sampler._done = SimpleNamespace(wait=wait)
    sampler._end_ns = first_ns + 1_050_000_000
    assert sampler._follow_schedule(sampler._readers[0]) == (9, first_ns + 1_003_000_000)
    sampler._write_account()
    assert [(ns - first_ns) / 1e6 for ns in begun] == [3, 103, *range(403, 1004, 100)]
    account = json.loads(log.marks("note")[0]["detail"])
    assert (account["missed_ticks"], account["ticks"], account["late_max_ms"]) == (2, 9, 3.0)


def test_percentiles_of_lateness():
    account = Account()
    for late_ms in range(1, 101):
        account.tick(late_ms * 1_000_000, 2_000_000, missed=0)
    closed = account.close()
    assert (closed["late_p50_ms"], closed["late_p95_ms"], closed["late_max_ms"]) == (51.0, 96.0, 100.0)
    assert closed["longest_read_ms"] == 2.0
    assert Account().close() == {"ticks": 0, "missed_ticks": 0, "failed_reads": 0}


@pytest.mark.parametrize(("step_ns", "noticed"), [(0, False), (5_000_000, False), (3_600_000_000_000, True)])
def test_a_wall_clock_that_is_set_is_noticed_and_one_that_is_slewed_is_not(monkeypatch, step_ns, noticed):
    pairs = iter(
        [
            {"time_ns": 10**18, "monotonic_ns": 10**12, "uncertainty_ns": 100},
            {"time_ns": 10**18 + 10**9 + step_ns, "monotonic_ns": 10**12 + 10**9, "uncertainty_ns": 100},
        ]
    )
    monkeypatch.setattr(sampler_module, "clock_pair", lambda: next(pairs))
    step = ClockWatch().check()
    assert (step is not None) == noticed
    if step:
        assert step["step_ns"] == step_ns


def test_a_clock_step_is_marked(monkeypatch):
    monkeypatch.setattr(sampler_module, "_WATCH_PERIOD_S", 0.01)
    monkeypatch.setattr(ClockWatch, "check", lambda self: {"step_ns": -2_500_000_000})
    log = run_until(lambda log: log.marks("clock"), Reader("x"))
    assert log.marks("clock")[0]["text"] == "the wall clock was set by -2.500 s"


def test_a_machine_that_was_asleep_is_a_gap_and_no_clock_that_was_set(monkeypatch):
    """The monotonic clock stands meanwhile, the wall clock and that since the boot go on."""
    slept = 3_600_000_000_000
    pair = {"time_ns": 10**18, "monotonic_ns": 10**12, "uncertainty_ns": 100}
    pairs = iter([pair, pair | {"time_ns": 10**18 + slept}, pair | {"time_ns": 10**18 + 3 * slept}])
    monkeypatch.setattr(sampler_module, "clock_pair", lambda: next(pairs))
    asleep = iter([5, slept + 5, slept + 5])
    monkeypatch.setattr(sampler_module, "asleep_ns", lambda: next(asleep))
    log, clock = Log(), ClockWatch()
    sampler = Sampler([], log, 1.0)
    sampler._note_clock(clock)
    assert [mark["text"] for _, mark in log.events] == ["this machine was asleep for 60 min"]
    sampler._note_clock(clock)
    assert [mark["text"] for _, mark in log.events][1:] == ["the wall clock was set by +7200.000 s"]


def test_a_driver_that_hangs_is_silent_where_it_is_read_and_other_watchers_are_asked(monkeypatch):
    """On threads of their own, at 50 Hz: what is judged when is tested on a clock of its own."""
    release, watched = threading.Event(), []
    hanging, healthy = Reader("hanging", lambda: len(log_of) and release.wait()), Reader("healthy")
    log_of = []
    monkeypatch.setattr(sampler_module, "_WATCH_PERIOD_S", 0.01)

    class Watcher:
        def look(self, slept_s):
            watched.append(slept_s)
            return [{"mark": "gap", "text": "a rank"}] if len(watched) == 1 else []

    log, stop = Log(), threading.Event()
    sampler = Sampler([hanging, healthy], log, 50.0, facts={"hanging": {}}, watchers=[Watcher()])
    thread = threading.Thread(target=sampler.run, args=(stop,))
    thread.start()
    try:
        end = time.monotonic() + 60
        while not any("hanging: no reading" in gap["text"] for gap in log.marks("gap")):
            assert time.monotonic() < end
            if len(log.samples("hanging")) > 5:
                log_of.append(1)
            time.sleep(0.005)
    finally:
        release.set()
        stop.set()
        thread.join()
    silent = [json.loads(gap["detail"]) for gap in log.marks("gap") if gap.get("detail")]
    assert ["hanging"] in [each["devices"] for each in silent]
    assert "a rank" in [gap["text"] for gap in log.marks("gap")]
    assert min(watched) >= 0.0


def test_a_process_that_did_not_run_says_so_before_its_next_sample(monkeypatch):
    """A paused container, on a clock of our own: it stands while a reader waits, then while one reads."""
    clock = SimpleNamespace(now_ns=10**12, sleeps=iter([0, 8 * 10**9]))
    times = {"monotonic_ns": lambda: clock.now_ns, "monotonic": lambda: clock.now_ns / 1e9}
    monkeypatch.setattr(sampler_module, "time", SimpleNamespace(**times))

    def wait(seconds):
        clock.now_ns += round(seconds * 1e9) + next(clock.sleeps, 0)

    def read():
        clock.now_ns += 3 * 10**9 if len(log.samples("x")) == 2 else 1

    log, reader = Log(), Reader("x", read)
    sampler = Sampler([reader], log, 5.0)
    sampler._done = SimpleNamespace(wait=wait)
    sampler._end_ns = clock.now_ns + 11_300_000_000
    sampler._own_time.waits("watch", clock.now_ns + 300_000_000)
    sampler._follow_schedule(reader)
    told = [kind if kind == "sample" else values["text"].partition(":")[0] for kind, values in log.events]
    assert told == [
        "sample",
        "the agent did not run for 8 s",
        "sample",
        "the agent did not run for 3.2 s",
        "sample",
    ]
