"""`watch --all`: one line a live run of a folder."""

import json
import time
from contextlib import closing

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from thermograd.cli import main
from thermograd.store.log.watched import leave_watched
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.stream.fleet import local
from thermograd.stream.fleet.consumer import FleetConsumer
from thermograd.stream.fleet.every_run import EveryRun
from thermograd.stream.fleet.local import FolderReceiver
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.fleet.watching import tell_documents

GPU = "GPU-0f2a77c1-0"


@pytest.fixture
def at_once(monkeypatch):
    """Let every turn be a look."""
    monkeypatch.setattr(local, "_PERIOD_S", 0.0)


@pytest.fixture
def shown(tmp_path, at_once):
    """Return what looks at the folder and gives rows, and its view."""
    receiver = FolderReceiver(tmp_path)
    consumer, view = FleetConsumer(receiver, FleetState()), EveryRun(receiver, "runs")

    def look():
        consumer.turn(0.0)
        return {row["name"]: row for row in view.rows(consumer.state, consumer.now_ns())}

    look.lines = lambda width, height=None: [
        line.plain for line in view.lines(consumer.state, consumer.now_ns(), width, height)
    ]
    look.consumer, look.view = consumer, view
    return look


def begin(folder, name, writer="node1-trainer-1-abcdef"):
    facts = {"devices": {GPU: {"model": "NVIDIA H100 80GB HBM3", "index": 0}}}
    run = create_run(folder, name, facts)
    return run, EventWriter(run.path, run.run_id, writer, ("step", "sample", "alert"))


def write(writer, step, **alert):
    writer.append("step", step=step, loss=2.5, grad_norm=1.25, step_time_s=0.5)
    mask = 0x40 if alert else 0  # the driver's word for heat
    writer.append("sample", device=GPU, temperature_c=71.4, power_w=500.0, clock_event_mask=mask)
    if alert:
        writer.append("alert", message="hot", step=step, **alert)


def test_a_live_run_is_a_line_with_what_matters_of_it(tmp_path, shown):
    run, writer = begin(tmp_path, "first")
    with closing(writer):
        write(writer, 12, alert="throttle.warn", severity="warning", device=GPU)
        write(writer, 13, alert="spike.grad", severity="critical")
        leave_watched(run.path, writer.writer, {"time_ns": 1, "devices": {GPU: {"e_value": 34.56}}})
        row = shown()["first"]
        lines = shown.lines(150)
    assert (row["state"], row["step"], row["loss"], row["grad_norm"]) == ("live", 13, 2.5, 1.25)
    assert (row["steps_per_s"], row["temperature_c"], row["hottest_label"]) == (
        2.0,
        71.4,
        "GPU 0 (H100, 0f2a)",
    )
    assert (row["gravest_alert"], row["gravest_severity"], row["alerts"]) == ("spike.grad", "critical", 2)
    assert row["e_value"] == 34.56
    assert 0.0 <= row["last_event_s_ago"] < 60.0
    assert lines[0] == "runs · 1 live run"
    for cell in (
        "live",
        "13",
        "2.5",
        "1.25",
        "GPU 0 (H100, 0f2a)",
        "71 !",
        "34.6",
        "2 critical",
        "spike.grad",
    ):
        assert cell in lines[3]


def test_what_a_run_does_not_say_is_a_dash_and_null(tmp_path, shown):
    _, writer = begin(tmp_path, "quiet")
    with closing(writer):
        row = shown()["quiet"]
        line = shown.lines(150)[3]
    unknown = ("step", "steps_per_s", "loss", "temperature_c", "e_value", "gravest_alert", "last_event_s_ago")
    assert [row[name] for name in unknown] == [None] * len(unknown)
    assert line.count("–") == 10


def test_runs_appear_as_they_begin_and_stay_for_a_while_as_they_ended(tmp_path, shown):
    assert shown() == {}
    assert "No run is live in runs" in shown.lines(80)[2]
    assert any("thermograd run --" in line for line in shown.lines(80))
    _, first = begin(tmp_path, "first")
    assert list(shown()) == ["first"]
    _, second = begin(tmp_path, "second")
    assert list(shown()) == ["second", "first"], "the latest first"
    second.close()
    rows = shown()
    assert [(name, row["state"]) for name, row in rows.items()] == [("first", "live"), ("second", "finished")]
    assert shown.lines(80)[0] == "runs · 1 live run · 1 just ended"
    first.close()
    assert {row["state"] for row in shown().values()} == {"finished"}


def test_runs_that_have_ended_are_not_read_again_until_they_go_on(tmp_path, shown, monkeypatch):
    run, writer = begin(tmp_path, "first")
    writer.close()
    monkeypatch.setattr(local, "_COARSENESS_NS", -(10**9))
    looked = []
    state = local.Run.state
    monkeypatch.setattr(local.Run, "state", lambda run: looked.append(run.run_id) or state(run))
    for _ in range(3):
        assert shown() == {}
    assert looked == [run.run_id]
    again = EventWriter(run.path, run.run_id, "node1-trainer-2-abcdef", ("step",))
    with closing(again):
        assert shown()["first"]["state"] == "live"


def test_every_line_fits_and_no_number_is_cut_whatever_the_width(tmp_path, shown):
    writers = [begin(tmp_path, name)[1] for name in ("a-name-that-is-longer-than-most-names-are", "東京" * 9)]
    for writer in writers:
        write(writer, 123_456, alert="spike.grad", severity="critical")
    shown()
    for width in (30, 40, 50, 60, 72, 80, 100, 150):
        lines = shown.lines(width)
        assert max(map(cell_len, lines)) <= width
        assert all("123,456" in line and "2.5" in line for line in lines[3:5])
    for writer in writers:
        writer.close()


def test_of_more_runs_than_lines_those_without_room_are_counted(tmp_path, shown):
    writers = [begin(tmp_path, f"run {i}")[1] for i in range(9)]
    write(writers[0], 1, alert="nonfinite", severity="critical")
    shown()
    lines = shown.lines(80, 10)
    assert len(lines) == 10
    assert lines[-1].startswith("q quits")
    assert "and 5 more: 5 live, 1 of them with a critical alert" in lines
    for writer in writers:
        writer.close()


def test_as_json_a_look_is_a_line(tmp_path, shown):
    _, writer = begin(tmp_path, "first")
    written = []
    with closing(writer):
        tell_documents(shown.consumer, shown.view, 0.0, written.append, turns=2)
        printed = CliRunner().invoke(main, ["--runs", str(tmp_path), "watch", "--all", "--once", "--json"])
    documents = [json.loads(each) for each in [*written, printed.stdout]]
    assert [[row["name"] for row in each["runs"]] for each in documents] == [["first"]] * 3
    assert documents[0]["time_ns"] <= documents[1]["time_ns"] <= documents[2]["time_ns"] <= time.time_ns()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latest", "--all"], "--all shows all live runs; name none"),
        (["--all", "--fleet"], "give one of them"),
        (["--all", "--from", "nats://h"], "--from and --consumer are of --fleet"),
        (["--json"], "--json is of --all and --fleet"),
    ],
)
def test_what_does_not_go_together_is_refused(words, said):
    refused = CliRunner().invoke(main, ["watch", *words])
    assert refused.exit_code == 2
    assert said in refused.output
