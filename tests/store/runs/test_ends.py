"""What is made of the accounts of several processes, of those that gave none, and of strangers' files."""

import json

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.files import overwrite_json, read_json, writer_file
from thermograd.store.log import place as place_module
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.ends import RunEnd, end_of


def rank(number, ended=None, closed=1, began=0, **more):
    facts = {"writer": f"host-r{number}-{began or 7}-ab12cd", "role": "training", "clock": {"time_ns": began}}
    facts |= {} if closed is None else {"closed_time_ns": closed}
    return facts | ({} if ended is None else {"ended": ended}) | more


def command(code, state="failed", began=100):
    ended = {"state": state, "exit_code": code, "closed_by": "thermograd run"}
    return rank(0, ended, began=began, role="launcher", writer=f"host-launcher-{began}-ab12cd")


def gone(time_ns, exit_code):
    return {"time_ns": time_ns, "exit_code": exit_code}


DONE = {"state": "finished", "closed_by": "close"}
ENDED = {"state": "finished", "closed_by": "exit"}
FAILED = {"state": "failed", "exception": "ValueError", "message": "boom"}
STOPPED = {"state": "interrupted", "exception": "KeyboardInterrupt"}
UNCLOSED = "its process ended without closing its log"
CASES = {
    "an earlier version's": ([rank(0)], "finished", None, None),
    "nobody wrote": ([], "crashed", "no process of the training has left a log", None),
    "all done": ([rank(0, DONE), rank(1, DONE)], "finished", None, None),
    "one failed": ([rank(0, DONE), rank(1, FAILED)], "failed", "rank 1: ValueError: boom", None),
    "the first that failed is told": (
        [rank(0, STOPPED | {"state": "failed"}, closed=9), rank(3, FAILED, closed=5)],
        "failed",
        "rank 3: ValueError: boom; also rank 0",
        None,
    ),
    "who failed explains who is silent": (
        [rank(0, closed=None), rank(1, FAILED)],
        "failed",
        "rank 1: ValueError: boom; also rank 0 (crashed)",
        None,
    ),
    "one is silent": (
        [rank(0, DONE), rank(1, closed=None)],
        "crashed",
        f"rank 1: {UNCLOSED}: killed, out of memory, os._exit or a crash",
        None,
    ),
    "many are silent": (
        [rank(n, closed=None) for n in range(12)] + [command(1)],
        "crashed",
        f"rank 0: {UNCLOSED} (exit code 1); also rank 1, rank 2, rank 3, rank 4 and 7 more",
        1,
    ),
    "which went first": (
        [rank(0, closed=None, gone=gone(9, 143)), rank(1, closed=None, gone=gone(5, 137)), command(1)],
        "crashed",
        "rank 1: SIGKILL, perhaps for want of memory (exit code 1); also rank 0",
        1,
    ),
    "which went first, not told to end": (
        [rank(0, closed=None, gone=gone(5, 143)), rank(1, closed=None, gone=gone(6, 139))],
        "crashed",
        "rank 1: SIGSEGV; also rank 0",
        None,
    ),
    "told to end, by itself": (
        [rank(0, closed=None, gone=gone(5, 143))],
        "interrupted",
        "SIGTERM ended its processes",
        None,
    ),
    "gone, as a stranger has it": (
        [rank(0, closed=None, gone={"time_ns": "now"})],
        "crashed",
        f"{UNCLOSED}: killed, out of memory, os._exit or a crash",
        None,
    ),
    "all were stopped": (
        [rank(0, STOPPED), rank(1, closed=None), command(130, "interrupted")],
        "interrupted",
        "rank 0: KeyboardInterrupt (exit code 130); also rank 1 (crashed)",
        130,
    ),
    "started again": ([rank(0, FAILED, began=5), rank(0, DONE, began=9)], "finished", None, None),
    "started again after a crash": (
        [rank(0, closed=None, began=5), rank(0, DONE, began=9)],
        "finished",
        None,
        None,
    ),
    "started again after a command": (
        [rank(0, closed=None, began=5), command(143, "interrupted", began=7), rank(0, DONE, began=9)],
        "finished",
        None,
        None,
    ),
    "the command failed later": (
        [rank(0, DONE), command(7)],
        "failed",
        "after the run was closed (exit code 7)",
        7,
    ),
    "the command failed as the script did": ([rank(0, ENDED), command(7)], "failed", "exit code 7", 7),
    "the command is sure of the code": (
        [rank(0, FAILED | {"exit_code": 1}), command(3)],
        "failed",
        "ValueError: boom (exit code 3)",
        3,
    ),
    "silent, and the command content": (
        [rank(0, closed=None), command(0, "finished")],
        "crashed",
        f"{UNCLOSED} (exit code 0)",
        0,
    ),
    "killed": (
        [rank(0, closed=None), command(137, "crashed")],
        "crashed",
        "SIGKILL, perhaps for want of memory (exit code 137)",
        137,
    ),
    "gone with the agent": (
        [rank(0, closed=None), rank(0, {"state": "interrupted"}, role="agent", writer="h-agent-1-ab")],
        "interrupted",
        "SIGTERM ended its processes",
        None,
    ),
    "gone with an agent that another followed": (
        [
            rank(0, closed=None),
            rank(0, {"state": "interrupted"}, role="agent", writer="h-agent-1-ab"),
            rank(0, DONE, role="agent", writer="h-agent-2-ab", began=9),
        ],
        "crashed",
        f"{UNCLOSED}: killed, out of memory, os._exit or a crash",
        None,
    ),
    "a full disk": (
        [rank(0, DONE | {"lost": 1234})],
        "finished",
        "1,234 events could not be written",
        None,
    ),
    "a device's recording": ([rank(0, role="recording", writer="h-recording-1-ab")], "finished", None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_accounts_are_one_state_with_one_reason(case):
    writers, state, reason, code = CASES[case]
    assert end_of(writers, frozenset()) == RunEnd(state, reason, code)
    assert end_of(writers[::-1], frozenset()) == RunEnd(state, reason, code)


def test_a_live_run_tells_which_rank_has_failed():
    ranks = [rank(0, closed=None), rank(1, FAILED), rank(2, DONE)]
    assert end_of(ranks, frozenset({"host-r0-7-ab12cd"})) == RunEnd("live", "rank 1: ValueError: boom")
    assert end_of(ranks[::2], frozenset({"host-r0-7-ab12cd"})) == RunEnd("live")


ODD = [
    "soon",
    {},
    {"state": "splendid"},
    {"state": ["failed"]},
    {"state": "failed", "exit_code": -1},
    {"state": "failed", "exit_code": 10**30},
    {"state": "failed", "message": {"a": 1}},
    {"state": "failed", "lost": True},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_account_that_is_none_is_left_out(tmp_path, odd):
    run = create_run(tmp_path, "x")
    writer_file(run.path, "w").parent.mkdir()
    facts = {"writer": "w", "role": "training", "closed_time_ns": 5, "clock": "late", "ended": odd}
    writer_file(run.path, "w").write_text(json.dumps(facts))
    assert run.end() == RunEnd("finished")


HOSTILE = "<script>alert(1)</script>\n| `x` \x1b[31m\x9b2J" + "y" * 100_000


def test_words_of_strangers_are_short_and_harmless_wherever_they_are_shown(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "h-r0-1-ab12cd")
    writer.append("step", step=1, loss=1.0, rank=0)
    writer.close({"state": "failed", "exception": HOSTILE, "message": HOSTILE})
    for arguments in (["runs"], ["show", "latest"], ["watch", "--once", "latest"]):
        shown = CliRunner().invoke(main, ["--runs", str(tmp_path), *arguments])
        assert shown.exit_code == 0
        assert "failed" in shown.stdout
        assert all(line.isprintable() and len(line) < 700 for line in shown.stdout.splitlines())
    [row] = json.loads(CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--json"]).stdout)
    assert (row["state"], row["exit_code"], len(row["reason"])) == ("failed", None, 300)
    markdown = (
        CliRunner().invoke(main, ["--runs", str(tmp_path), "report", "latest", "--format", "md"]).stdout
    )
    [line] = [line for line in markdown.splitlines() if line.startswith("| state |")]
    assert line.startswith("| state | failed: ``") or line.startswith("| state | failed: `")
    assert line.replace("\\|", "").count("|") == 3


def test_what_a_live_run_has_to_seal_comes_later(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    said = CliRunner().invoke(main, ["--runs", str(tmp_path), "seal", "latest"]).stderr
    assert said.startswith("Nothing to seal yet: the run is live")
    writer.close()
    assert (
        CliRunner().invoke(main, ["--runs", str(tmp_path), "seal", "latest"]).stderr == "Nothing to seal.\n"
    )


def test_a_run_ends_when_its_training_does_not_when_those_around_it_do(tmp_path):
    run = create_run(tmp_path, "x")
    for role in ("training", "agent", "launcher"):
        EventWriter(run.path, run.run_id, f"h-{role}-1-ab12cd", role=role).close({"state": "finished"})
    closed = {facts["role"]: facts["closed_time_ns"] for facts in run.writers()}
    assert run.ended_time_ns() == closed["training"] < closed["launcher"]


def test_a_full_disk_at_the_end_leaves_no_crash(tmp_path, monkeypatch):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    writer.append("step", step=1)
    writer.lost = 3

    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place_module, "write_json", full)
    writer.close({"state": "failed", "exception": "OSError", "message": "[Errno 28] No space left on device"})
    reason = "OSError: [Errno 28] No space left on device; 3 events could not be written"
    assert run.end() == RunEnd("failed", reason)
    assert run.ended_time_ns() is not None


def test_writing_over_a_file_leaves_it_as_it_was_where_there_is_no_room(tmp_path, monkeypatch):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"a": "b" * 100}))
    overwrite_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    with pytest.raises(OSError, match="No such file"):
        overwrite_json(tmp_path / "gone.json", {})
