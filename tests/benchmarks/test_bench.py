"""The table of goals and its history."""

import json

import pytest
from thermograd.benchmarks import bench
from thermograd.benchmarks.goals.goal import Goal

FACTS = {"date": "2026-11-28", "commit": "abc", "machine": "a, 2 cores", "python": "3.11", "load": "0.1"}
GOAL = {"key": "start.help", "what": "help", "value": 2.0, "unit": "x", "limit": 2.5, "passed": True}
GOAL |= {"measured": "2 ms against 1 ms", "at_least": False}


@pytest.fixture
def files(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "HISTORY", tmp_path / "history.csv")
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "RESULTS.md")
    return tmp_path


def test_a_regression_shows_beside_what_the_same_machine_measured_before(files):
    bench.append_history([GOAL], FACTS)
    bench.append_history([GOAL | {"value": 9.0}], FACTS | {"machine": "another"})

    earlier = bench.before(FACTS["machine"])

    assert earlier == {"start.help": (2.0, "abc")}
    assert bench.table_row(GOAL | {"value": 2.4}, earlier["start.help"])[4] == "2x (abc)"
    assert bench.table_row(GOAL | {"value": 2.6}, earlier["start.help"])[4] == "2x (abc, WORSE)"
    assert bench.table_row(GOAL | {"value": 1.5, "at_least": True}, earlier["start.help"])[4].endswith(
        "WORSE)"
    )


def test_the_table_takes_the_place_of_the_one_before_and_leaves_the_rest(files):
    bench.RESULTS.write_text(f"# Results\n\n{bench.BEGIN}\nold\n{bench.END}\n\n## More\n")

    bench.write_table("| new |", FACTS)

    text = bench.RESULTS.read_text()
    assert text.startswith(f"# Results\n\n{bench.BEGIN}\n2026-11-28, commit abc")
    assert text.endswith(f"| new |\n{bench.END}\n\n## More\n")
    assert "old" not in text


def test_a_part_that_fails_gives_what_it_had_measured_and_says_why(monkeypatch, tmp_path):
    folder = tmp_path / "goals"
    folder.mkdir()
    program = f"print({json.dumps(GOAL)!r})\nraise SystemExit('no polars')"
    (folder / "broken.py").write_text(program)
    monkeypatch.setattr(bench, "HERE", tmp_path)
    goals = bench.goals_of("broken", False, 60.0)

    assert next(goals) == GOAL
    with pytest.raises(RuntimeError, match="broken: no polars"):
        next(goals)


@pytest.mark.parametrize(
    ("value", "at_least", "passed"),
    [(2.0, False, True), (2.1, False, False), (2.1, True, True), (1.9, True, False)],
)
def test_a_goal_is_met_at_its_limit(value, at_least, passed):
    assert Goal("a", "a", value, 2.0, "x", "", at_least).passed is passed


def test_a_value_for_reference_is_neither_met_nor_missed():
    assert Goal("a", "a", 1.0, None, "s", "").passed is None
