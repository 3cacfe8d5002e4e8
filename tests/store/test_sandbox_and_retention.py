import os
import shlex
import shutil
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import LogError, QueryError
from thermograd.store.log import writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.sandbox import query_untrusted
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


def test_a_strangers_query_is_answered_like_ones_own(tmp_path):
    make_run(tmp_path)
    answer = query_untrusted("SELECT step, loss FROM steps", tmp_path, timeout_s=60)
    assert answer.to_pylist() == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 4000000000))",
        "SELECT count(*) FROM range(99999999) a, range(99999999) b WHERE a.range < b.range",
        "SELECT * FROM range(100000000)",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{target}'",
        "SELEC",
    ],
)
def test_a_strangers_query_ends_within_its_limits_with_one_message(tmp_path, sql):
    make_run(tmp_path)
    begun = time.monotonic()
    with pytest.raises(QueryError) as caught:
        query_untrusted(sql.format(target=tmp_path / "out"), tmp_path, timeout_s=3)
    assert str(caught.value)
    assert time.monotonic() - begun < 60
    assert not (tmp_path / "out").exists()


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


def test_a_disk_that_fills_up_is_said_once_and_in_the_log(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(log_module, "_LITTLE_SPACE_BYTES", 1 << 60)
    monkeypatch.setattr(log_module, "_SPACE_PERIOD_S", 0.0)
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # else the log's thread looks as well
    run, writer = make_run(tmp_path, close=False)
    for _ in range(3):
        writer._watch_space()
    writer.close()
    assert caplog.text.count("MB are free") == 1
    runs = shlex.quote(str(tmp_path))
    assert f"thermograd --runs {runs} runs --prune-older-than 30d --yes (" in caplog.text
    assert [m["mark"] for m in read_kind(run.path, "mark").to_pylist()] == ["note"]


def test_a_disk_with_less_than_a_megabyte_is_told_in_kilobytes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(log_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=700_000))
    monkeypatch.setattr(log_module, "_LITTLE_SPACE_BYTES", 1 << 20)
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # else the log's thread looks as well
    run, writer = make_run(tmp_path / "my runs", close=False)
    writer._watch_space()
    writer.close()
    assert "only 683 kB are free" in caplog.text
    assert "my runs' runs --prune-older-than 30d --yes" in caplog.text
    (mark,) = read_kind(run.path, "mark").to_pylist()
    assert mark["text"].startswith("only 683 kB are free")
