"""Where the coupling monitor stands, as the agent leaves it for who looks."""

import random
import threading

from thermograd.store.events import Event, column_names
from thermograd.stream.pipeline.live import watch_log
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.pipeline.standing import StandingKept, standing_of
from thermograd.stream.settings import Settings
from thermograd.stream.terminal.state import WatchState

SECOND = 10**9
DEVICES = {"a": {"sensors": ["temperature_c"]}, "b": {"sensors": ["temperature_c"]}}


def event(kind, seq, second, **values):
    time_ns = round(second * SECOND) + SECOND
    base = dict.fromkeys(column_names(kind)) | {"seq": seq, "time_ns": time_ns, "monotonic_ns": time_ns}
    return Event(kind, "w", base | values)


def events(seconds):
    rng = random.Random(3)
    told = []
    for i in range(seconds):
        told.append(event("step", i, i, step=i, rank=0, grad_norm=1.0 + rng.random()))
        for device in DEVICES:
            told.append(event("sample", i, i + 0.1, device=device, temperature_c=50.0 + rng.random()))
    return told


def test_it_says_what_the_view_in_the_terminal_says_and_the_bounds():
    monitor, view = Monitor(DEVICES), WatchState(DEVICES)
    for each in events(400):
        monitor.process(each)
    view.learn(events(400))
    standing = standing_of(monitor.pairs, 7)
    assert {name: told["e_value"] for name, told in standing["devices"].items()} == {
        name: view.evidence(name) for name in DEVICES
    }
    assert (standing["time_ns"], standing["bound"]) == (7, 20.0)
    assert standing["alarm_bound"] == 2 * Settings().coupling.alarm_s
    assert set(standing["devices"]["a"]["pairs"]) == {"temperature_c"}


def test_a_live_layer_leaves_it_and_a_failure_harms_nothing():
    left, looks, lines, stop = [], [events(40), []], [], threading.Event()
    stop.set()

    def leave(state):
        left.append(state)
        raise OSError("no room")

    def append(kind, **values):
        lines.append(values.get("text"))

    watch_log(lambda: looks.pop(0), append, DEVICES, stop, lines.append, leave=leave)
    assert [state["time_ns"] for state in left] == [round(39.1 * SECOND) + SECOND] * 2  # a look, and the end
    assert "the stream layer's own account" in lines


def test_it_is_left_at_most_every_two_seconds():
    left, monitor = [], Monitor(DEVICES)
    kept = StandingKept(left.append)
    for time_ns in range(1, 50):
        kept.keep(monitor.pairs, time_ns)
    assert [state["time_ns"] for state in left] == [1]
