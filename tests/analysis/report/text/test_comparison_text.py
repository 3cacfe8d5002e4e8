"""The naive method and ours on one screen."""

import pytest
from simulated_runs import simulated, slow_answer
from thermograd.analysis.report.text.comparison import demo_beside, side_by_side
from thermograd.analysis.run.analyze import analyze_run


@pytest.fixture(scope="module")
def analyses(tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("runs")
    made = {
        name: simulated(runs_dir, name, minutes=minutes)
        for name, minutes in (("trends", 20), ("coupled", 20), ("uncoupled", 2))
    }
    return {name: analyze_run(run, "grad_norm", "temperature_c") for name, run in made.items()}


def test_the_screen_shows_where_the_naive_method_is_wrong_and_ours_right(analyses):
    text = side_by_side([("NOT coupled,\ntrends", analyses["trends"]), ("COUPLED", analyses["coupled"])])
    assert all(len(line) <= 80 for line in text.splitlines())
    trend, values, coupled, effect = text.splitlines()[2:6]
    assert trend.split("  ")[0] == "NOT coupled,"
    assert "COUPLED" in trend.removeprefix("NOT coupled,")
    assert trend.endswith("no coupling")
    assert "r = -0.7" in values
    assert coupled.endswith("COUPLED")
    assert "lag +5 s" in effect


def test_a_run_too_short_to_tell_is_not_called_uncoupled(analyses):
    assert "cannot tell yet" in side_by_side([("short", analyses["uncoupled"])])


def test_the_demo_names_the_training_whose_truth_nobody_knows(analyses):
    text = demo_beside([("", analyses["uncoupled"]), ("simulated: trends", analyses["trends"])])
    assert "this training\n" not in text.splitlines()[0]
    assert any(line.startswith("(nobody knows its truth)") for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 80


def test_a_slow_answer_has_a_memory_on_the_screen(slow_analysis):
    text = side_by_side([("slow", slow_analysis)])
    assert f"memory {slow_answer(slow_analysis).memory_s:g} s" in text
    assert "lag" not in text
