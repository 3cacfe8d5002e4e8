"""What differs between runs: settings, the step at which losses part, and hardware at equal power."""

import json
import math

import numpy as np
import pytest
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.differences import (
    Differences,
    Measured,
    Setting,
    differences,
    losses_apart,
    warmer_at_equal_power,
)
from thermograd.analysis.comparison.reproducibility import FINAL_LOSS
from thermograd.analysis.comparison.result import reproducibility_lines
from thermograd.analysis.comparison.side_by_side import losses_lines, measured_note, settings_rows
from thermograd.analysis.report.text.comparison import describe_comparison
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

SECOND_NS = 1_000_000_000


def make_run(runs, losses, name="r", facts=None, samples=(), first_step=1):
    run = create_run(runs, name, facts)
    writer = EventWriter(run.path, run.run_id, "w")
    for step, loss in enumerate(losses, first_step):
        writer.append("step", step * SECOND_NS, 0, step=step, rank=0, loss=loss)
    for second, (power_w, temperature_c) in enumerate(samples, 1):
        values = {"device": "GPU-a", "power_w": power_w, "temperature_c": temperature_c}
        writer.append("sample", second * SECOND_NS, 0, **values)
    writer.close()
    return run


def apart(tmp_path, one, two, **options):
    runs = [load_series(make_run(tmp_path, one)), load_series(make_run(tmp_path, two, **options))]
    return losses_apart(*runs)


BASE = [4.0, 3.0, 2.5, 2.25, 2.0]


def test_equal_losses_never_part(tmp_path):
    found = apart(tmp_path, BASE, BASE)
    assert (found.common_steps, found.equal_until, found.first_different) == (5, 5, None)


def test_the_last_bit_counts_and_one_percent_is_told_apart(tmp_path):
    other = [*BASE[:2], math.nextafter(BASE[2], 9), BASE[3] * 1.001, BASE[4] * 1.02]
    found = apart(tmp_path, BASE, other)
    assert (found.equal_until, found.first_different, found.first_apart) == (2, 3, 5)
    assert 0 < found.relative < 1e-15


def test_runs_that_differ_from_their_first_step(tmp_path):
    found = apart(tmp_path, BASE, [loss * 1.5 for loss in BASE])
    assert (found.equal_until, found.first_different, found.first_apart) == (None, 1, 1)
    assert found.relative == pytest.approx(0.5)


def test_steps_are_compared_by_number(tmp_path):
    found = apart(tmp_path, BASE, BASE[2:], first_step=3)
    assert (found.common_steps, found.first_different) == (3, None)


def test_runs_without_a_common_step(tmp_path):
    found = apart(tmp_path, BASE, BASE, first_step=100)
    assert (found.common_steps, found.equal_until, found.first_different) == (0, None, None)


def test_a_loss_that_became_nan_in_both_is_the_same_and_in_one_is_not(tmp_path):
    broken = [*BASE[:3], math.nan, 2.0]
    assert apart(tmp_path, broken, broken).first_different is None
    found = apart(tmp_path, BASE, broken)
    assert (found.first_different, found.first_apart, found.relative) == (4, 4, None)


def test_a_loss_of_zero_beside_one_that_is_not(tmp_path):
    found = apart(tmp_path, [0.0, 1.0], [0.5, 1.0])
    assert (found.first_different, found.first_apart) == (1, 1)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (BASE, "equal to the last bit in all 5 steps"),
        (
            [*BASE[:4], 2.5],
            "equal to the last bit up to step 4 and part at step 5 (there by 0.25 of the loss).",
        ),
        ([*BASE[:4], 2.0001], "never by more than 1 %."),
        (
            [4.001, *BASE[1:4], 3.0],
            "differ from step 1 (there by 0.00025 of the loss), by more than 1 % from step 5.",
        ),
    ],
)
def test_each_case_has_its_sentence(tmp_path, losses, said):
    found = compare_runs([make_run(tmp_path, BASE), make_run(tmp_path, losses)])
    (line,) = losses_lines(found.differences, found.runs)
    assert said in line
    assert line.startswith("The losses of runs 1 and 2 ")


FACTS = {
    "config": {"optim": {"lr": 1e-3}, "epochs": 3, "only": None},
    "versions": {"torch": "2.13.0", "numpy": "2.4"},
    "git": {"commit": "a" * 40, "dirty": False},
    "argv": ["train.py", "--lr", "1e-3"],
    "seed": 1,
    "host": "one",
}


def test_what_is_set_differently_is_listed_and_nothing_else(tmp_path):
    changed = FACTS | {
        "config": {"optim": {"lr": 5e-4}, "epochs": 3, "extra": [1, 2]},
        "versions": {"torch": "2.12.1", "numpy": "2.4"},
        "git": {"commit": "a" * 40, "dirty": True},
        "seed": 2,
    }
    runs = [load_series(make_run(tmp_path, BASE, facts=facts)) for facts in (FACTS, changed)]
    found = {(each.group, each.name): each.values for each in differences(runs).settings}
    assert found == {
        ("config", "optim.lr"): ["0.001", "0.0005"],
        ("config", "extra"): [None, "[1, 2]"],
        ("packages", "torch"): ["2.13.0", "2.12.1"],
        ("code", "commit"): ["aaaaaaaaaa", "aaaaaaaaaa, changed"],
        ("code", "seed"): ["1", "2"],
    }


@pytest.mark.parametrize(
    "facts",
    [{}, {"config": 3, "argv": "x", "environment": []}, {"config": {"a": {"b": {"c": {}}}}, "seed": [1]}],
)
def test_facts_of_any_form_are_borne(tmp_path, facts):
    runs = [load_series(make_run(tmp_path, BASE, facts=each)) for each in (FACTS, facts)]
    assert all(isinstance(each, Setting) for each in differences(runs).settings)


def test_many_settings_are_shortened_for_people_and_whole_in_json(tmp_path):
    facts = {"config": {f"key{n}": n for n in range(100)} | {"long": "<b>" + "x" * 1000}}
    found = compare_runs([make_run(tmp_path, BASE), make_run(tmp_path, BASE[:-1], facts=facts)])
    rows, left_out = settings_rows(found.differences)
    assert (len(rows), left_out) == (40, 61)
    assert "and 61 more" in describe_comparison(found)
    document = found.to_json()["differences"]
    assert len(document["settings"]) == 101
    json.dumps(document, allow_nan=False)


def heated(seed, offset_c, low_w=200.0, high_w=400.0, n=400):
    """Return power that wanders between two values, and a temperature that follows it."""
    rng = np.random.default_rng(seed)
    power = rng.uniform(low_w, high_w, n)
    return power, 30 + 0.1 * power + offset_c + rng.normal(0, 0.2, n)


def test_a_warmer_device_is_warmer_at_equal_power_whatever_power_it_drew():
    assert warmer_at_equal_power(heated(1, 0.0), heated(2, 4.0)) == pytest.approx(4.0, abs=0.2)
    busier = heated(3, 4.0, 300.0, 500.0)  # on average 10 degC warmer by its power alone
    assert warmer_at_equal_power(heated(1, 0.0), busier) == pytest.approx(4.0, abs=0.4)


@pytest.mark.parametrize(
    "other", [heated(2, 4.0, 500.0, 600.0), heated(2, 4.0, n=3), (np.empty(0), np.empty(0))]
)
def test_without_common_power_nothing_is_said(other):
    assert warmer_at_equal_power(heated(1, 0.0), other) is None


def test_devices_are_compared_while_training(tmp_path):
    runs = []
    for seed, offset_c in ((1, 0.0), (2, 6.0)):
        rng = np.random.default_rng(seed)
        power = 300 + 60 * np.sin(np.arange(600) / 80) + rng.normal(0, 1, 600)
        samples = zip(power.tolist(), (30 + 0.1 * power + offset_c).tolist(), strict=True)
        losses = (3 + rng.normal(0, 0.1, 600)).tolist()
        runs.append(load_series(make_run(tmp_path, losses, samples=samples)))
    rows = {each.name: each for each in differences(runs).measured if each.role == "gpu 0"}
    assert rows["temperature at equal power"].values[0] is None
    assert rows["temperature at equal power"].values[1] == pytest.approx(6.0, abs=0.5)
    assert rows["power, median"].values == pytest.approx([300, 300], abs=15)
    assert "clock, median" not in rows  # no sensor: no row, and no number


def test_final_losses_stand_first_and_then_the_last_values_of_metrics_that_all_runs_have(tmp_path):
    runs = []
    for own in ("only_one", "only_two"):
        run = make_run(tmp_path, [3.0] * 19 + [2.0])
        writer = EventWriter(run.path, run.run_id, "own")
        for place, (step, value) in enumerate([(1, 0.1), (9, 0.9), (5, 0.5)]):
            writer.append("metric", place * SECOND_NS, 0, step=step, rank=0, name="accuracy", value=value)
        writer.append("metric", SECOND_NS, 0, rank=0, name=own, value=1.0)
        writer.close()
        runs.append(run)
    found = compare_runs(runs)
    rows = [(each.role, each.name, each.values) for each in found.differences.measured]
    assert rows == [("training", FINAL_LOSS, [2.0, 2.0]), ("metric", "accuracy, last", [0.9, 0.9])]
    assert measured_note(found.differences) == ""
    assert "final loss (mean of the last 5 % of the steps)" in describe_comparison(found)


def test_equal_power_is_explained_only_where_it_is_compared():
    rows = [
        Measured("gpu 0", name, "degC", [None, 1.0])
        for name in ("power, median", "temperature at equal power")
    ]
    assert "At equal power" not in measured_note(Differences(measured=rows[:1]))
    assert "At equal power" in measured_note(Differences(measured=rows))


def test_a_run_that_ended_without_a_finite_loss_is_counted_apart(tmp_path):
    found = compare_runs([make_run(tmp_path, BASE), make_run(tmp_path, [*BASE[:4], math.nan])])
    lines = reproducibility_lines(found)
    assert lines[:2] == [
        "Final loss (mean of the last 5 % of the steps) 2 (1 run).",
        "1 run ended without a finite loss.",
    ]
