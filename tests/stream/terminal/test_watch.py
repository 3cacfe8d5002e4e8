"""The live view: what a frame says at every size, and that it leaves the terminal as it was."""

import io
import json
import math
import os
import random
import select
import signal
import sys
import time

import pytest
from rich.cells import cell_len
from rich.console import Console
from thermograd.store.events import Event, column_names
from thermograd.store.telling.silences import Silence
from thermograd.stream.terminal.frame import frame_lines, sparkline
from thermograd.stream.terminal.state import RunFacts, WatchState
from thermograd.stream.terminal.watch import can_redraw, watch

SECOND = 10**9
START = 1_764_000_000 * SECOND
GPU = "GPU-3f2a1b4c-77aa-4bb1-9c0d-aabbccddeeff"
DEVICES = {
    GPU: {"model": "NVIDIA H200", "index": 3, "temperature_limit_c": 90.0},
    "simulated:dc": {"simulated": True},
    "rig": {"simulated": True},
}


def event(kind, second, **values):
    time_ns = START + round(second * SECOND)
    base = dict.fromkeys(column_names(kind)) | {"seq": 0, "time_ns": time_ns, "monotonic_ns": time_ns}
    return Event(kind, "w", base | values)


def busy_run(devices=(GPU, "simulated:dc", "rig", "cpu")):
    events = []
    for i in range(200):
        norm = {120: 48.5, 150: math.nan}.get(i, 1.0 + (i * 7 % 11) / 100)
        loss = 5.0 * math.exp(-i / 50) + 2
        events.append(
            event("step", i, seq=i, step=i + 1, rank=0, loss=loss, grad_norm=norm, learning_rate=1e-3)
        )
        for device in devices:
            known = (
                {}
                if device == "cpu"
                else {"temperature_c": 60.0 + i % 7, "power_w": 250.0, "sm_clock_mhz": 1980.0}
            )
            events.append(event("sample", i + 0.2, seq=i, device=device, utilization_pct=97.6, **known))
    events.append(
        event(
            "alert",
            120,
            alert="spike.grad",
            severity="critical",
            message="step 121: grad_norm 48.5 is 46x the recent level 1.05 (z = 1.4e+03)",
        )
    )
    events.append(
        event("alert", 150, alert="nonfinite", severity="critical", message="step 151: grad_norm is nan")
    )
    return events


def board_of(events, devices=DEVICES):
    board = WatchState(devices)
    board.learn(events)
    return board


def facts(**changes):
    given = {
        "run_id": "20261124-120000-baseline-ab12",
        "name": "baseline",
        "state": "live",
        "devices": DEVICES,
    }
    return RunFacts(**(given | changes))


def frame(board, width=80, height=24, run=None, **options):
    lines = frame_lines(board, run or facts(), START + 200 * SECOND, width, height, **options)
    return [line.plain for line in lines]


@pytest.fixture(scope="module")
def busy():
    """Return the board of a run in which much happens."""
    return board_of(busy_run())


@pytest.mark.parametrize("rhythm", [False, True])
def test_evidence_that_is_less_what_a_rhythm_makes_is_marked(rhythm):
    rng = random.Random(1)
    hard, long = ([rng.gauss(0, rhythm) for _ in range(24)] for _ in range(2))
    events = []
    for i in range(1200):
        norm = math.exp(0.1 * (hard[i % 24] + rng.gauss(0, 1)))
        events.append(event("step", i, seq=i, step=i + 1, rank=0, grad_norm=norm))
        heat = 60.0 + long[i % 24] + rng.gauss(0, 1)
        events.append(event("sample", i + 0.2, seq=i, device=GPU, temperature_c=heat))
    lines = frame(board_of(events), width=100)
    gpu = next(line for line in lines if line.startswith("GPU"))
    assert gpu.split()[-1].startswith("~") == rhythm
    assert ("less what rhythm or averaging makes" in lines[-1]) == rhythm


def test_a_frame_of_80_by_24_says_everything(busy):
    lines = frame(busy)
    text = "\n".join(lines)
    assert len(lines) == 24
    assert lines[0] == "baseline · live · step 200 · last event 0.8 s ago"
    assert lines[1] == "20261124-120000-baseline-ab12"
    assert lines[3].startswith("loss          2.093  █")
    assert lines[3].endswith("2.093 to 7")
    assert lines[4].startswith("grad_norm      1.07  ")
    assert lines[4].endswith("1 to 48.5")
    assert "×" in lines[4]
    assert "rate 0.001 · step time – s" in text
    gpu = next(line for line in lines if line.startswith("GPU"))
    assert gpu.startswith("GPU 3 (H200, 3f2a)  ")
    assert gpu.partition(")")[2].split()[:5] == ["63", "250", "1980", "98", "ok"]
    assert "step 121: grad_norm 48.5 is 46x the recent level 1.05 (z = 1.4e+03)" in " ".join(text.split())
    assert lines[-1].startswith("q quits · r: with grad_norm")


def test_what_is_not_known_is_a_dash_and_never_a_zero(busy):
    cpu = next(line for line in frame(busy) if line.startswith("cpu"))
    assert cpu.split()[1:] == ["–", "–", "–", "98", "–", "–", "–", "–", "–"]


def test_simulated_devices_are_marked(busy):
    text = "\n".join(frame(busy))
    assert "simulated:dc " in text
    assert "rig (simulated)" in text


@pytest.mark.parametrize("width", [20, 30, 40, 52, 60, 79, 80, 81, 100, 132, 200])
@pytest.mark.parametrize("height", [None, 6, 12, 24, 60])
def test_no_number_is_cut_off_at_any_size(busy, width, height):
    lines = frame(busy, width, height)
    assert all(cell_len(line) <= max(width, 30) for line in lines)
    assert height is None or len(lines) == height
    if height in (None, 24, 60):
        gpu = next(line for line in lines if line.startswith("GPU"))
        assert gpu.rstrip().endswith("ok") or gpu.split()[-2] == "–" or "." in gpu.split()[-1]
        assert " 250 " in gpu
        assert "nonfinite step 151: grad_norm is nan" in " ".join(" ".join(lines).split())


def test_a_narrow_screen_leaves_columns_out_rather_than_digits(busy):
    heading = next(line for line in frame(busy, 48) if line.startswith("device"))
    assert heading.split() == ["device", "°C", "W", "%", "state"]


def test_a_silent_device_has_no_values_until_it_is_back():
    silence = Silence("silent.device", "warning", START, "d/1()", devices=(GPU, "rig"), device=GPU)
    board = board_of([*busy_run(), event("mark", 201, **silence.mark("GPU 3: no reading"))])
    (line,) = [line for line in frame(board) if line.startswith("GPU 3")]
    assert "SILENT" in line
    assert "250" not in line
    board.learn([event("sample", 202, seq=300, device=GPU, temperature_c=61.0, power_w=251.0)])
    (line,) = [line for line in frame(board) if line.startswith("GPU 3")]
    assert "SILENT" not in line
    assert "251" in line
    assert board.silent == {"rig"}


def test_many_devices_leave_room_for_the_alerts():
    names = [f"GPU-{i:02}" for i in range(40)]
    lines = frame(board_of(busy_run(names), {}), 80, 24)
    assert any("more devices" in line for line in lines)
    assert any("nonfinite" in line for line in lines)


def test_of_many_devices_the_slowed_and_the_hottest_are_shown_and_the_rest_counted():
    """Device 37 falls to a third of its clock while it is throttled for heat: it must not be left out."""
    names = [f"GPU-{i:02}" for i in range(64)]
    events = []
    for second in range(120):
        for place, name in enumerate(names):
            hot = place == 37 and second > 60
            readings = {
                "temperature_c": 90.0 if hot else 50.0 + (place == 50),
                "sm_clock_mhz": 600.0 if hot else 1900.0,
            }
            readings |= {"utilization_pct": 99.0, "power_w": 600.0, "clock_event_mask": 0x40 if hot else 0}
            throttled_ns = max(0, second - 60) * SECOND if hot else 0
            events.append(event("sample", second, device=name, throttled_thermal_ns=throttled_ns, **readings))
    board = board_of(events, {name: {"index": place} for place, name in enumerate(names)})
    lines = frame(board, 80, 24)
    shown = [line for line in lines if line.startswith("GPU ")]
    assert any(line.startswith("GPU 37 ") and "HEAT" in line for line in shown)
    assert any(line.startswith("GPU 50 ") for line in shown)
    left = next(line for line in lines if "more devices" in line)
    assert f"and {64 - len(shown)} more devices: " in left
    assert "HEAT" not in left


def test_alerts_that_repeat_are_one_with_their_number_and_share_of_time():
    heat = {"alert": "collapse.thermal", "severity": "critical", "device": GPU, "message": "gpu: hot"}
    events = [event("alert", 60 * i, **heat) for i in range(100)]
    for i in range(100):
        told = {"alert": "collapse.thermal", "device": GPU, "onset_time_ns": START + 60 * i * SECOND}
        detail = json.dumps(told | {"end_time_ns": START + (60 * i + 30) * SECOND})
        events.append(event("mark", 60 * i + 30, mark="alert_ended", detail=detail))
    lines = frame(board_of(events))
    shown = [line for line in lines if "collapse.thermal" in line]
    assert len(shown) == 1
    assert "100 times in 99 min 30 s, alerting for 50 % of it; worst: gpu: hot" in " ".join(
        " ".join(lines).split()
    )


def test_alerts_are_found_where_the_log_holds_none():
    lines = frame(board_of([e for e in busy_run() if e.kind != "alert"]))
    assert "alerts, found now: the log holds none" in lines
    assert any("spike.grad" in line for line in lines)


def test_an_empty_run_says_so():
    lines = frame(board_of([]), run=facts(state="crashed"))
    assert lines[0] == "baseline · crashed"
    assert "loss              –" in lines[3]
    assert "no device samples yet" in lines
    assert "no alerts" in lines


def test_a_run_that_cannot_be_asked_is_silent_and_not_crashed(busy):
    assert frame(busy, run=facts(state="silent", hosts=("node7",)))[0].startswith(
        "baseline · silent on node7"
    )


def test_a_view_that_begins_late_says_so():
    assert "seen from step 101 on" in "\n".join(
        frame(board_of([event("step", 1, seq=100, step=101, rank=0)]))
    )


def test_throttling_is_seen():
    events = []
    for i in range(60):
        hot = i >= 40
        clock, mask = (1500.0, 0x20) if hot else (1980.0, 0)
        events.append(
            event(
                "sample",
                i,
                seq=i,
                device=GPU,
                temperature_c=89.0 if hot else 70.0,
                sm_clock_mhz=clock,
                clock_event_mask=mask,
            )
        )
    assert "HEAT" in "\n".join(frame(board_of(events)))


def test_names_and_messages_from_outside_break_nothing():
    nasty = "gpu\x1b[2J\n\u202e" + "x" * 400
    events = [
        event("sample", 1, device=nasty, temperature_c=1.0),
        event("alert", 1, alert="a\x1b", severity="?", message=nasty),
    ]
    lines = frame(board_of(events), run=facts(name=nasty))
    assert len(lines) == 24
    assert all(line.isprintable() for line in lines)
    assert all(cell_len(line) <= 80 for line in lines)


def test_ascii_only_terminals_get_ascii(busy):
    assert "\n".join(frame(busy, ascii_only=True)).isascii()


def test_a_spike_does_not_flatten_the_rest_of_the_line():
    values = [1.0 + (i % 10) / 10 for i in range(100)]
    values[50] = 1e6
    line = sparkline(values, 100)
    assert line[50] == "█"
    assert len(set(line) - {"█"}) >= 3
    assert sparkline([1e6, *[0.0] * 99], 10)[0] == "█"


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 9, ""),
        ([1.0], 0, ""),
        ([3.0] * 4, 9, "▁▁▁▁"),
        ([math.nan, math.inf], 9, "××"),
        ([-1e308, 1e308], 9, "▁▁"),
        ([0.0, 1.0], 1, "▁"),
    ],
)
def test_odd_series_still_make_a_line(values, width, line):
    assert sparkline(values, width) == line


@pytest.mark.parametrize("once", [True, False], ids=["once", "pipe"])
def test_once_prints_a_frame_and_ends_and_so_does_a_pipe(once):
    stream = io.StringIO()
    batches = iter([busy_run()])
    watch(lambda: next(batches), facts, Console(file=stream, width=80), once=once)
    assert "baseline · live · step 200" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert not can_redraw(Console(force_terminal=True, _environ={"TERM": "dumb"}))


PROGRAM = """
import sys; sys.path[:0] = %r
import signal
from rich.console import Console
from test_watch import busy_run, facts
from thermograd.stream.terminal.watch import watch
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
batches = iter([busy_run()])
try:
    watch(lambda: next(batches, []), facts, Console(), refresh_s=0.1)
except KeyboardInterrupt:
    pass
"""


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child is another program at once
@pytest.mark.parametrize(("way", "code"), [("q", 0), ("ctrl-c", 0), ("sigterm", 143)])
def test_it_quits_cleanly_and_the_terminal_is_as_it_was(way, code):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    held, go_on = os.pipe()
    pid, fd = pty.fork()
    if pid == 0:
        os.read(held, 1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the suite runs in the background
        arguments = [sys.executable, "-c", PROGRAM % [os.path.dirname(__file__)]]
        os.execve(sys.executable, arguments, os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"})
    before = termios.tcgetattr(fd)
    os.write(go_on, b"!")
    shown = read_until(fd, b"q quits")
    assert b"\x1b[?1049h" in shown
    assert termios.tcgetattr(fd)[3] != before[3]
    if way == "sigterm":
        os.kill(pid, signal.SIGTERM)
    else:
        os.write(fd, b"q" if way == "q" else b"\x03")
    shown += read_until(fd, None)
    after = termios.tcgetattr(fd)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == code
    assert after == before
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")
    assert b"Traceback" not in shown
    for each in (fd, held, go_on):
        os.close(each)


def read_until(fd, wanted):
    """Read from a terminal until something was seen, or to its end."""
    shown, end = b"", time.monotonic() + 120
    while (wanted is None or wanted not in shown) and time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # Linux: the other side is gone
                return shown
            if not data:
                return shown
            shown += data
    return shown
