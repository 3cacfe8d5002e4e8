"""Tags and notes: given at any time, by several at once, and harmless whatever they hold."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import LogError
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.tags import FILE, change_tags, checked_tag, read_tags


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "r")


def test_tags_keep_their_order_and_stand_once(run):
    change_tags(run.path, ["b", " a "])
    change_tags(run.path, ["a", "c"], ["b"])
    assert read_tags(run.path).tags == ["a", "c"]


def test_a_note_has_its_time(run):
    change_tags(run.path, note="first\nwith the new cooling")
    (note,) = read_tags(run.path).notes
    assert note["text"] == "first with the new cooling"
    assert note["time_ns"] >= run.started_time_ns


def test_several_that_tag_at_once_lose_nothing(run):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: change_tags(run.path, [f"t{n}"]), range(24)))
    assert sorted(read_tags(run.path).tags) == sorted(f"t{n}" for n in range(24))


@pytest.mark.parametrize("tag", ["", "  ", "a,b", "a\nb", "\x1b[31m", "x" * 65])
def test_a_tag_that_is_none_is_refused(run, tag):
    with pytest.raises(ValueError, match="allowed: 1 to 64 characters"):
        change_tags(run.path, [tag])
    assert not (run.path / FILE).exists()


def test_only_what_is_there_can_be_removed(run):
    change_tags(run.path, ["a"])
    with pytest.raises(ValueError, match="no tag 'b'; its tags: a"):
        change_tags(run.path, remove=["b"])


@pytest.mark.parametrize(
    "content",
    ["garbage", "[]", '{"tags": 3, "notes": {"a": 1}}', '{"tags": [1, null], "notes": [1, {"text": 2}]}'],
)
def test_a_file_that_is_none_of_ours_holds_no_tags(run, content):
    (run.path / FILE).write_text(content)
    assert read_tags(run.path).tags == []
    assert read_tags(run.path).notes == []


def test_a_damaged_file_is_said_by_verify(run):
    (run.path / FILE).write_text("garbage")
    assert [entry["path"] for entry in verify_run(run.path)["files"] if "reason" in entry] == [FILE]


def test_what_strangers_wrote_carries_no_controls(run):
    note = {"time_ns": 0, "text": "\x1b[2Jhi"}
    (run.path / FILE).write_text(json.dumps({"tags": ["\x1b[31m\ud800"], "notes": [note]}))
    assert read_tags(run.path).tags == ["\ufffd[31m?"]
    assert read_tags(run.path).notes[0]["text"] == "\ufffd[2Jhi"


def test_a_run_that_is_gone_is_one_clear_error(tmp_path):
    with pytest.raises(LogError, match="cannot tag gone"):
        change_tags(tmp_path / "gone", ["a"])


def test_the_command_tags_and_lists(run, tmp_path):
    def ask(*arguments):
        return CliRunner().invoke(main, ["--runs", str(tmp_path), *arguments])

    assert ask("tag", "latest", "baseline", "--note", "<b>cold</b>").exit_code == 0
    assert "baseline" in ask("tag", "latest").output
    assert "<b>cold</b>" in ask("show", "latest").output
    assert [row["run_id"] for row in json.loads(ask("runs", "--tag", "baseline", "--json").output)] == [
        run.run_id
    ]
    assert json.loads(ask("runs", "--tag", "other", "--json").output) == []
    failed = ask("tag", "latest", "--remove", "other")
    assert failed.exit_code == 1
    assert "its tags: baseline" in failed.output


def test_white_space_around_a_tag_goes():
    assert checked_tag("  my tag ") == "my tag"
