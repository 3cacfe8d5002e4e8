"""What `show` prints of a run that has ended is kept, and is what looking gives."""

import json
import subprocess
import sys

import pytest
from synthetic import make_run
from thermograd.analysis.fleet import shown
from thermograd.analysis.fleet.population.place import kept_path
from thermograd.analysis.fleet.shown import run_shown, shown_text
from thermograd.store.console import json_text
from thermograd.store.files import write_json
from thermograd.store.log.reading import kept as kept_module
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.describe import describe_run
from thermograd.store.runs.tags import change_tags


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Take files of now as old enough: what changes them in a test changes their size or inode, too."""
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_module, "_FRESH_NS", -(10**9))


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "runs", steps=60, seconds=60.0)
    seal_run(run.path, run.run_id)
    return run


def looked_at(monkeypatch):
    """Return a list of the runs that are gathered from now on."""
    seen = []
    gather = shown.run_shown
    monkeypatch.setattr(shown, "run_shown", lambda run: seen.append(run.run_id) or gather(run))
    return seen


def test_the_second_time_nothing_is_gathered_and_the_text_is_the_same(run, monkeypatch):
    seen = looked_at(monkeypatch)
    told = run_shown(run)
    for _ in range(2):
        assert shown_text(run) == describe_run(told)
        assert shown_text(run, every_alert=True) == describe_run(told, every_alert=True)
        assert shown_text(run, as_json=True) == json_text(told)
    assert seen == [run.run_id] * 3


def noted(run):
    change_tags(run.path, ["hot"], note="a note")


def summed_up(run):
    write_json(kept_path(run.path.parent), {})


def shipped(run):
    write_json(run.path / "shipping.json", {"url": "s3://bucket/runs", "is_complete": True})


def quarantined_log(run):
    (sealed, *_) = sorted((run.path / "sealed" / "step").iterdir())
    sealed.write_bytes(sealed.read_bytes()[:-9])


@pytest.mark.parametrize("change", [noted, summed_up, shipped, quarantined_log])
def test_a_change_is_shown(run, change, monkeypatch):
    shown_text(run)
    change(run)
    seen = looked_at(monkeypatch)

    assert shown_text(Run(run.path)) == describe_run(run_shown(Run(run.path)))
    assert seen == [run.run_id]


def test_what_a_warning_was_told_with_is_gathered_each_time(run, monkeypatch, caplog):
    quarantined_log(run)
    monkeypatch.setattr("thermograd.store.log.reading.damage._told", {})
    seen = looked_at(monkeypatch)

    assert "damaged" in shown_text(run)
    assert "is damaged" in caplog.text
    shown_text(run)
    assert len(seen) == 2


def test_a_run_that_may_go_on_is_gathered_each_time(tmp_path, monkeypatch):
    run = create_run(tmp_path, "just begun")
    writer = EventWriter(run.path, run.run_id, "w-r0", role="training")
    seen = looked_at(monkeypatch)

    assert "(live)" in shown_text(run)
    shown_text(run)
    assert len(seen) == 2
    writer.close()
    assert "(finished)" in shown_text(run)


HEAVY = {"pandas", "duckdb", "scipy", "matplotlib", "altair", "torch"}
COMMAND = """
import sys
from thermograd.cli import main
main(['--runs', sys.argv[1], 'show', 'latest', *sys.argv[2:]], standalone_mode=False)
print(*sys.modules)
"""


def test_show_loads_no_statistics_and_no_database_and_the_second_time_no_arrays(run):
    heavies = []
    for _ in range(2):
        command = [sys.executable, "-c", COMMAND, str(run.path.parent), "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        text, _, loaded = done.stdout.rstrip().rpartition("\n")
        assert json.loads(text) == json.loads(json_text(run_shown(run)))
        heavies.append((HEAVY | {"numpy", "pyarrow"}) & set(loaded.split()))
        shown_text(run, as_json=True)  # in this process, which keeps what is as new as this, too
    assert heavies == [{"numpy", "pyarrow"}, set()]
