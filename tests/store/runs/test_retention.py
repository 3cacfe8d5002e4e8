import os
import shutil
import time

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import LogError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.retention import delete_run, finish_deletions, old_runs, parse_age


def make_run(runs, name="r", close=True):
    run = create_run(runs, name)
    writer = EventWriter(run.path, run.run_id, f"w-{name}")
    writer.append("step", step=1, loss=2.0)
    if close:
        writer.close()
    return run, writer


def age(run, days):
    moment = time.time() - days * 86_400
    for path in run.path.rglob("*"):
        os.utime(path, (moment, moment))


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("1.5w", 907_200)])
def test_ages_are_read(text, seconds):
    assert parse_age(text) == seconds


def test_only_old_runs_that_are_not_live_are_deleted(tmp_path):
    old, _ = make_run(tmp_path, "old")
    live, writer = make_run(tmp_path, "live", close=False)
    make_run(tmp_path, "new")
    age(old, 40)
    age(live, 40)
    found = old_runs(tmp_path, parse_age("30d"))
    assert {(entry.run.run_id, entry.live) for entry in found} == {(old.run_id, False), (live.run_id, True)}
    with pytest.raises(LogError, match="is live"):
        delete_run(live)
    command = ["--runs", str(tmp_path), "runs", "--prune-older-than", "30d"]
    result = CliRunner().invoke(main, command)
    assert "would delete" in result.stdout
    assert "Nothing was deleted" in result.stderr
    assert old.path.exists()
    result = CliRunner().invoke(main, [*command, "--yes"])
    assert f"deleted  {old.run_id}" in result.stdout
    assert f"kept     {live.run_id}" in result.stdout
    assert not old.path.exists()
    assert live.path.exists()
    writer.close()


def test_a_deletion_that_was_interrupted_is_finished_by_the_next(tmp_path):
    old, _ = make_run(tmp_path, "old")
    left = old.path.rename(tmp_path / f".{old.path.name}.deleted")
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--prune-older-than", "30d"])
    assert result.exit_code == 0
    assert left.exists(), "a dry run removes nothing"
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--prune-older-than", "30d", "--yes"])
    assert result.exit_code == 0
    assert not left.exists()


def test_what_cannot_be_removed_is_said_and_tried_again(tmp_path, monkeypatch):
    old, _ = make_run(tmp_path, "old")
    remove = shutil.rmtree

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(LogError, match="cannot remove .*: Permission denied"):
        delete_run(old)
    monkeypatch.setattr(shutil, "rmtree", remove)
    finish_deletions(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_age_of_another_form_is_wrong_usage(tmp_path):
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--prune-older-than", "soon"])
    assert result.exit_code == 2
    assert "30d" in result.stderr


def test_what_thermograd_did_not_make_is_never_deleted(tmp_path):
    """Other programs have a run.json, and hidden directories that end like ours; links lead elsewhere."""
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    outside, _ = make_run(elsewhere, "outside")
    for name in ("tool", ".cache.deleted"):
        (runs / name).mkdir(parents=True)
        (runs / name / "weights").write_text("mine")
    (runs / "tool" / "run.json").write_text('{"tool": "another"}')
    (runs / "linked").symlink_to(outside.path)
    (runs / ".linked.deleted").symlink_to(outside.path)
    ours, _ = make_run(runs, "ours")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["--runs", str(runs), "runs", "--prune-older-than", "0h", "--yes"])
    assert result.exit_code == 0
    assert ours.run_id in result.stdout
    assert sorted(tmp_path.rglob("*")) == [p for p in before if ours.path not in (p, *p.parents)]
    assert outside.path.is_dir()
