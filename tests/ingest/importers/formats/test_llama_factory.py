"""LLaMA-Factory's trainer_log.jsonl, whose clock counts whole seconds."""

import json
from pathlib import Path

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

LOG = Path(__file__).parents[3] / "fixtures/imports/llama_factory/trainer_log.jsonl"
START = Hints("2026-11-24T10:00:00Z")
_START_NS = 1795514400 * 10**9


def test_every_value_is_the_one_that_pandas_reads(tmp_path: Path) -> None:
    found = imported(tmp_path, LOG, hints=START)
    table = pd.read_json(LOG, lines=True)
    metrics = found.rows("metric")
    for name in ("eval_loss", "throughput", "total_tokens"):
        theirs = list(
            table.loc[table[name].notna(), [*("current_steps", name)]].itertuples(index=False, name=None)
        )
        assert sorted((row["step"], row["value"]) for row in metrics if row["name"] == name) == sorted(theirs)
    table = table[table["loss"].notna()]
    rows = found.rows("step")
    assert [row["step"] for row in rows] == table["current_steps"].tolist() == [5, 10, 15, 20, 25, 30]
    for name, theirs in (("loss", "loss"), ("learning_rate", "lr"), ("epoch", "epoch")):
        assert [row[name] for row in rows] == pytest.approx(table[theirs].tolist(), rel=1e-15)
    passed_s = pd.to_timedelta(table["elapsed_time"]).dt.total_seconds().tolist()
    assert [(row["time_ns"] - _START_NS) / 1e9 for row in rows] == passed_s
    assert "plus its elapsed_time, in whole seconds" in found.result["timezone"]


def test_a_step_time_that_a_person_gives_goes_before_the_whole_seconds(tmp_path: Path) -> None:
    rows = imported(tmp_path, LOG, hints=START._replace(step_time_s=0.25)).rows("step")
    assert [(row["time_ns"] - _START_NS) / 1e9 for row in rows][:2] == [1.25, 2.5]


def _log(*rows: tuple[int, str]) -> str:
    entries = [{"current_steps": s, "total_steps": 9, "loss": 1.5, "elapsed_time": t} for s, t in rows]
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_the_time_of_a_resumed_training_goes_on_and_the_pause_is_said_to_be_unknown(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", _log((5, "0:01:00"), (6, "0:02:00"), (6, "0:00:30"), (7, "0:00:45")))
    found = imported(tmp_path, path, hints=START)
    assert [(row["time_ns"] - _START_NS) / 1e9 for row in found.rows("step")] == [60, 120, 150, 165]
    assert "the time starts over 1 time; how long the pauses were is not in it" in found.result["warnings"]


def test_what_it_needs_is_said_as_a_command(tmp_path: Path) -> None:
    message = refused(tmp_path, LOG)
    assert "say when the training began: thermograd import" in message
    assert message.endswith("trainer_log.jsonl --started-at 2026-11-24T10:00:00Z")


def test_torn_and_odd_lines_cost_no_more_than_themselves(tmp_path: Path) -> None:
    odd = '{"current_steps": 6, "total_ste\n[1]\n{"current_steps": 1.5}\n'
    odd += '{"current_steps": 7, "elapsed_time": 9}\n'
    path = written(tmp_path / "a.jsonl", _log((5, "0:01:00")) + odd + _log((8, "0:02:00"))[:-1])
    found = imported(tmp_path, path, hints=START)
    assert [row["step"] for row in found.rows("step")] == [5]
    assert found.result["left_out"] == {
        "torn row: no JSON": 1,
        "torn row: an entry that is not an object": 1,
        "torn row: current_steps is not a whole number >= 0": 1,
        "torn row: elapsed_time is no time": 1,
        "torn row: the file ends in mid-line": 1,
    }


@pytest.mark.parametrize("digits", [400, 100_000])
def test_more_hours_than_any_training_takes_are_no_time(tmp_path: Path, digits: int) -> None:
    """Python refuses to read whole numbers of thousands of digits, or to make floats of large ones."""
    entries = [json.loads(line) for line in LOG.read_text().splitlines()]
    entries[1]["elapsed_time"] = "9" * digits + ":00:00"
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    found = imported(tmp_path, written(tmp_path / "trainer_log.jsonl", text), hints=START)
    assert found.result["left_out"] == {"torn row: elapsed_time is no time": 1}
