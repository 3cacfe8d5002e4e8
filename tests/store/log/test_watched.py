import math

from thermograd.store.log.watched import leave_watched, read_watched
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.retention import prune


def test_what_monitors_leave_comes_newest_first_and_garbage_is_left_out(tmp_path):
    leave_watched(tmp_path, "agent-a", {"time_ns": 5, "devices": {"gpu": {"e_value": math.inf}}})
    leave_watched(tmp_path, "agent-b", {"time_ns": 9, "devices": {}})
    leave_watched(tmp_path, "agent-a", {"time_ns": 7, "devices": {"gpu": {"e_value": 1.5}}})
    for name, content in {
        "c.json": "{",
        "d.json": "[1]",
        "e.json": '{"time_ns": "x", "devices": {}}',
    }.items():
        (tmp_path / "watched" / name).write_text(content)
    (tmp_path / "watched" / "f.json").symlink_to(tmp_path / "watched" / "agent-b.json")
    assert read_watched(tmp_path) == [
        {"time_ns": 9, "devices": {}},
        {"time_ns": 7, "devices": {"gpu": {"e_value": 1.5}}},
    ]
    assert read_watched(tmp_path / "none") == []


def test_a_run_in_which_a_monitor_left_its_state_is_pruned_as_any_other(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w", ("step",))
    writer.append("step", 10**9, 10**9, step=0)
    writer.close()
    leave_watched(run.path, "w", {"time_ns": 1, "devices": {}})
    assert [old.deleted for old in prune(tmp_path, 0.0, delete=True)] == [True]
    assert not run.path.exists()
