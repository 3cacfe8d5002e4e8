"""Experiments of a run: from marks, steps and samples to a verdict in words."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from simulated_runs import END_NS
from thermograd.analysis.comparison.compare import experiment_notes
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.experiment.experiment import PLAN_FILE
from thermograd.analysis.run.experiment.experiments import run_experiments
from thermograd.analysis.run.experiment.exposure import binned
from thermograd.analysis.run.experiment.sentences import result_facts
from thermograd.analysis.run.result import shown_verdict, verdict_sentence
from thermograd.analysis.run.series import load_series
from thermograd.analysis.run.wording.experiment_causes import why_not_moved
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.ingest.simulate.experiment import simulate_experiment
from thermograd.store.events import Event
from thermograd.store.experiment.outcomes import outcome_evidence
from thermograd.store.experiment.schedules import Schedule
from thermograd.store.files import write_json
from thermograd.stream.pipeline.monitor import Monitor


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return the series of a world, each written once."""
    folder, known = tmp_path_factory.mktemp("worlds"), {}

    def series(name, minutes=40, seed=1):
        if (name, minutes, seed) not in known:
            run = simulate_experiment(folder, f"experiment-{name}", minutes, seed=seed, end_ns=END_NS)
            known[name, minutes, seed] = load_series(run)
        return known[name, minutes, seed]

    return series


def details(data):
    return [(mark, json.loads(mark["detail"])) for mark in data.marks if mark["mark"] == "intervention"]


def with_marks(data, change):
    """Return the series with every intervention's detail changed; None leaves its mark out."""
    marks = [mark for mark in data.marks if mark["mark"] != "intervention"]
    for mark, detail in details(data):
        changed = change(detail)
        if changed is not None:
            marks.append(mark | {"detail": json.dumps(changed)})
    return replace(data, marks=sorted(marks, key=lambda mark: mark["time_ns"]))


def one(data):
    (result,) = run_experiments(data)
    return result


# -- worlds of known truth ---------------------------------------------------------------------------


def test_a_true_effect_is_found_with_its_size_and_the_checks_pass(world):
    data = world("heat-to-training")
    result = one(data)
    norm, loss, control = result.effects
    assert (result.verdict, norm.verdict, loss.verdict) == ("effect", "effect", "no_effect")
    assert norm.interval_sd[0] < data.run.facts["truth"]["effect_sd"] < norm.interval_sd[1]
    assert norm.e_value > 20
    assert (control.outcome, control.is_control, control.unit) == ("step_time_s", True, "s")
    assert {check.outcome for check in result.manipulation if check.passed} >= {"temperature_c", "power_w"}
    assert result.sentence.startswith("EFFECT: heat changes the gradient norm by +0.")
    assert result.sentence.endswith("The hardware is SIMULATED.")
    assert result.simulated == ["simulated:gpu"]


def test_the_e_values_are_those_of_the_alert_to_the_bit(world):
    data = world("heat-to-training")
    steps = data.steps.to_pylist()
    told = [Event("step", "rank0", each) for each in steps]
    told += [Event("mark", "rank0", mark) for mark in data.marks]
    monitor = Monitor({})
    alerts = [
        alert
        for each in sorted(told, key=lambda event: event.values["time_ns"])
        for alert in monitor.process(each)
        if alert["alert"] == "effect"
    ]
    alerts += monitor.close()
    assert monitor.experiments is not None
    ((schedule, live),) = monitor.experiments.evidence()
    after = {each.outcome: (each.e_value, each.e_largest) for each in one(data).effects}
    assert {name: (each.e_value, each.largest) for name, each in live.items()} == after
    (alert,) = [each for each in alerts if each["alert"] == "effect"]
    until = [each for each in steps if each["step"] <= alert["step"]]
    known = [outcome_evidence(schedule, name, until).e_value for name in ("log_grad_norm", "loss")]
    assert alert["score"] == sum(known) / 2


@pytest.mark.parametrize("name", ["null", "hidden-driver", "drift"])
def test_heat_that_does_nothing_has_no_effect_of_the_planned_size(world, name):
    result = one(world(name, seed=3 if name == "hidden-driver" else 1))
    assert result.verdict == "no_effect"
    assert result.planned_sd == 0.5
    assert result.sentence.startswith(
        "NO EFFECT above 0.5 sd: heat does not change the gradient norm or loss"
    )


def test_pulses_that_make_the_device_work_harder_reach_it_and_noise_more_than_zeros(world):
    result = one(world("training-to-hardware", 20))
    asked = {effect.outcome: effect for effect in result.effects if not effect.is_control}
    assert (result.question, result.verdict) == ("training to hardware", "effect")
    assert {effect.contrast for effect in asked.values()} == {"noise less zeros"}
    assert {effect.device for effect in asked.values()} == {"simulated:gpu"}
    assert asked["power_w"].effect > 0
    assert asked["power_w"].unit == "W"


def test_a_coupling_by_a_hidden_driver_is_told_as_association_beside_the_experiment(world):
    data = world("hidden-driver", seed=3)
    analysis = analyze_run(data.run, "grad_norm", "temperature_c", series=data)
    (pair, *_) = [pair for pair in analysis.pairs if pair.verdict == "coupled"]
    assert pair.device == "simulated:gpu"
    assert shown_verdict(analysis) == "no_effect"
    left = "that the training moves the hardware, or that something drives both, remains"
    assert f"not by heat with an effect of 0.5 sd or more; {left}" in verdict_sentence(analysis)
    screen = first_screen(analysis)
    assert (screen.verdict, screen.simulated) == ("no_effect", True)
    assert left in screen.sentence
    assert any("include the intervention" in warning for warning in analysis.warnings)
    (told,) = json.loads(json.dumps(analysis.to_json(), allow_nan=False))["experiments"]
    assert {"arm", "design", "seed", "units", "manipulation", "effects", "verdict", "sentence"} <= told.keys()
    assert told["effects"][0]["response"]["lags_s"]
    assert "redrawn" not in told["effects"][0]


def test_a_run_without_an_experiment_has_none_and_a_mark_of_a_script_is_none(world):
    data = world("null", 6)
    mark = {"mark": "intervention", "detail": '{"by": "hand"}', "time_ns": 0, "step": 3}
    assert run_experiments(replace(data, marks=[mark])) == []


# -- what the log may hold ---------------------------------------------------------------------------


def test_marks_that_the_seed_does_not_draw_support_nothing(world):
    def tampered(detail):
        if detail.get("assigned", {}).get("index") == 3:
            detail["assigned"]["level"] = "hot" if detail["assigned"]["level"] == "cool" else "cool"
        return detail

    result = one(with_marks(world("heat-to-training"), tampered))
    assert (result.verdict, result.effects, result.manipulation) == ("insufficient", [], [])
    assert result.sentence.startswith("INSUFFICIENT: the log does not hold the experiment as it was drawn:")
    assert "assignment 3 in the log is not what seed 1 draws" in result.sentence


def test_too_few_pairs_are_said_to_be_too_few(world):
    result = one(world("null", 6))
    assert result.units < 6
    assert result.verdict == "insufficient"
    assert "pairs of blocks were completed; with fewer than 6" in result.sentence
    assert {check.outcome for check in result.manipulation} >= {"temperature_c", "power_w"}


def test_where_the_steps_of_the_completed_pairs_are_lost_nothing_can_be_said(world):
    data = world("null")
    design = run_experiments(data)[0]
    last = data.steps.slice(len(data.steps) - 1)  # of the incomplete pair
    result = one(replace(data, steps=last))
    assert (result.units, result.verdict, result.effects) == (design.units, "insufficient", [])
    assert (
        f"the log has no step of the {design.units} pairs of blocks that were completed." in result.sentence
    )
    assert result.sentence.endswith("SIMULATED.")
    few = one(replace(data, steps=data.steps.slice(len(data.steps) // 2, 1)))
    assert few.verdict == "insufficient"


def test_a_device_that_did_not_get_cooler_is_no_experiment(world):
    data = world("null")
    (device,) = data.devices.values()
    steady = {"temperature_c": 50.0, "power_w": 500.0, "utilization_pct": 60.0, "sm_clock_mhz": 1980.0}
    table = device.table
    for name, value in steady.items():
        column = pa.array(np.full(len(table), value))
        table = table.set_column(table.column_names.index(name), name, column)
    result = one(replace(data, devices={device.name: replace(device, table=table)}))
    assert result.verdict == "insufficient"
    assert "INSUFFICIENT: the device did not get cooler: temperature was 0 degC apart" in result.sentence
    blind = one(replace(data, devices={}))
    assert blind.verdict == "insufficient"
    assert "whether the device got cooler was not measured" in blind.sentence


def test_use_alone_says_nothing_of_heat_and_blocks_shorter_than_its_readings_nothing_of_others(world):
    data = world("null")
    unknown = {name: lambda old: np.full(old.size, np.nan) for name in ("temperature_c", "power_w")}
    busy = unknown | {"utilization_pct": lambda old: np.full(old.size, 95.0)}
    result = one(with_signals(data, busy))
    assert "INSUFFICIENT: that the device got cooler was not seen: the device was busy" in result.sentence
    ends = [{**each, "last_time_ns": each["first_time_ns"] + 170_000_000} for each in result.schedule]
    why, length, _ = why_not_moved(replace(result, schedule=ends))
    assert why.startswith("blocks of 0.17 s are shorter than a device needs")
    assert length == "longer blocks help, more of these do not"
    assert all("no verdict" in line for line in result_facts(result) if line.startswith("outcome: "))


def with_signals(data, values):
    """Return the series with signals of its device set; a function of the old values."""
    (device,) = data.devices.values()
    table = device.table
    for name, change in values.items():
        column = pa.array(change(np.asarray(table.column(name), dtype=np.float64)))
        table = table.set_column(table.column_names.index(name), name, column)
    return replace(data, devices={device.name: replace(device, table=table)})


def test_a_device_that_only_idled_or_was_hotter_in_cool_blocks_is_no_experiment(world):
    data = world("heat-to-training")
    still = {
        name: lambda old: np.full(old.size, 50.0) for name in ("temperature_c", "power_w", "sm_clock_mhz")
    }
    idle = one(with_signals(data, still))
    assert {check.outcome for check in idle.manipulation if check.passed} == {"utilization_pct"}
    assert (idle.verdict, idle.moved) == ("insufficient", [])
    assert "temperature was 0 degC apart" in idle.sentence
    reversed_ = {"temperature_c": lambda old: 120.0 - old, "power_w": lambda old: 900.0 - old}
    result = one(with_signals(data, reversed_))
    assert (result.verdict, result.moved) == ("insufficient", [])
    assert "the device did not get cooler: the reverse was seen: temperature was \u2212" in result.sentence
    assert any("higher in cool blocks than in hot ones" in each for each in result.warnings)


def test_where_nothing_measures_heat_it_is_idleness_that_moved(world):
    data = world("heat-to-training")
    unknown = {name: lambda old: np.full(old.size, np.nan) for name in ("temperature_c", "power_w")}
    result = one(with_signals(data, unknown))
    assert result.verdict == "effect"
    assert result.moved
    assert not {"temperature_c", "power_w"} & set(result.moved)
    assert any("idleness and not heat" in each for each in result.warnings)


def test_an_outcome_that_was_not_tested_has_no_part_in_the_verdict(world):
    data = world("null")
    place = data.steps.column_names.index("loss")
    constant = data.steps.set_column(place, "loss", pa.array(np.full(len(data.steps), 2.0)))
    result = one(replace(data, steps=constant))
    assert result.verdict == "no_effect"
    assert "loss" not in result.sentence
    assert "Not tested was loss: missing in too many blocks, or never changing." in result.warnings
    norm = data.steps.column_names.index("grad_norm")
    still = constant.set_column(norm, "grad_norm", pa.array(np.full(len(constant), 1.0)))
    assert one(replace(data, steps=still)).verdict == "insufficient"


def test_what_was_not_applied_is_told_and_analysed_as_assigned(world):
    def failed(detail):
        if "applied" not in detail:
            return detail
        applied = detail["applied"]
        if applied["index"] == 4:
            return None
        if applied["index"] == 5:
            applied["failed"] = "a step took\nlonger than its block."
        return detail

    data = world("heat-to-training")
    as_it_was, result = one(data), one(with_marks(data, failed))
    assert result.applied == as_it_was.applied - 2
    assert result.assigned == as_it_was.assigned
    told = " ".join(result.not_applied)
    assert "Block 5 (" in told
    assert "the log does not say that it was applied." in told
    assert "rank 0: a step took" in told
    assert "\n" not in told
    assert result.effects[0].effect_sd == as_it_was.effects[0].effect_sd


def test_the_incomplete_last_pair_is_left_out(world):
    result = one(world("null"))
    assert len(result.schedule) > 2 * result.units
    assert any("The incomplete end of the experiment is left out" in each for each in result.warnings)
    assert any(f"of {80} steps" in each for each in result.not_applied)


def test_steps_that_were_done_again_after_a_restart_count_once(world):
    data = world("heat-to-training")
    again = data.steps.slice(900, 200)
    spoilt = again.set_column(
        again.column_names.index("grad_norm"), "grad_norm", pa.array(np.full(len(again), 50.0))
    )
    twice = pa.concat_tables([data.steps.slice(0, 900), spoilt, data.steps.slice(900)])
    result, as_it_was = one(replace(data, steps=twice)), one(data)
    assert result.effects[0].effect_sd == as_it_was.effects[0].effect_sd
    assert (
        "200 steps of the experiment were done again after a restart; the last time counts."
        in result.warnings
    )


def test_a_second_experiment_begins_where_the_first_ends(world):
    data = world("null")
    half = END_NS - 15 * 60 * 10**9
    later = [mark for mark, detail in details(data) if detail.get("assigned") and mark["time_ns"] > half]
    first_step = later[0]["step"]

    def split(detail):
        is_late = (detail.get("assigned") or {"index": 0})["index"] >= json.loads(later[0]["detail"])[
            "assigned"
        ]["index"]
        return None if is_late or "applied" in detail else detail

    marks = with_marks(data, split).marks
    from thermograd.store.experiment.marks import assigned_detail
    from thermograd.store.experiment.schedules import Switchback

    second = Schedule("duty", Switchback(80), 99, first_step)
    added = [
        mark | {"detail": json.dumps(assigned_detail(second, second.assignment(place)))}
        for place, mark in enumerate(later)
    ]
    first, other = run_experiments(replace(data, marks=[*marks, *added]))
    assert (first.seed, other.seed) == (1, 99)
    assert first.units + other.units in (20, 21)
    assert first.schedule[-1]["last_time_ns"] <= other.schedule[0]["first_time_ns"]


def test_the_plan_is_read_from_the_run_or_from_a_note(world, tmp_path):
    data = world("null", 6)
    assert one(data).plan is None
    note = {"mark": "note", "detail": json.dumps({"experiment_plan": {"minutes": 30}}), "time_ns": 0}
    assert one(replace(data, marks=[*data.marks, note])).plan == {"minutes": 30}
    write_json(data.run.path / PLAN_FILE, {"minutes": 45})
    try:
        assert one(data).plan == {"minutes": 45}
    finally:
        (data.run.path / PLAN_FILE).unlink()


def test_a_comparison_tells_the_experiment_of_each_run(world):
    data = world("heat-to-training")
    (note,) = experiment_notes([data, with_marks(data, lambda detail: None)])
    assert note.startswith(f"{data.run.run_id} holds a randomised experiment")
    assert "EFFECT: heat changes the gradient norm" in note


# -- bins of a sensor --------------------------------------------------------------------------------


def test_a_bin_without_a_reading_has_what_its_neighbours_say_unless_these_are_far():
    times = np.array([0, 10, 20, 60, 70], dtype=np.int64)
    values = np.array([0.0, 1.0, 2.0, 6.0, np.nan])
    edges = np.arange(0, 70, 5, dtype=np.int64)
    bins = binned(times, values, edges)
    assert bins[:4].tolist() == [0.2, 1.0, 1.2, 2.0]
    assert np.isnan(bins[5:11]).all()
    assert bins[11] == 6.0
    assert np.isnan(bins[12:]).all()


def test_a_load_that_competes_proves_nothing_and_the_plan_is_told_beside(world):
    data = world("null")
    plan = {"effect_sd": 0.5, "needed_minutes": {"log_grad_norm": 44.6, "loss": None}}
    noted = {"mark": "note", "detail": json.dumps({"experiment_plan": plan}), "time_ns": 0, "step": 3}

    def burner(detail):
        detail["experiment"]["arm"] = "burner"
        detail["experiment"]["options"] = {"load": 0.5, "step_time_is": "outcome"}
        return detail

    changed = with_marks(data, burner)
    result = one(replace(changed, marks=[*changed.marks, noted]))
    step_time = result.effects[-1]
    assert (step_time.outcome, step_time.is_control, step_time.is_competition) == ("step_time_s", True, True)
    told = "\n".join(result_facts(result))
    assert "competition: step time" in told
    assert "control:" not in told
    assert "says nothing for or against heat" in told
    assert "plan: 0.5 sd would take of gradient norm 45 minutes, loss more than two days." in told


def test_events_that_were_lost_while_it_went_on_are_warned_of(world):
    data = world("heat-to-training", minutes=3)
    last = data.marks[-1]
    gaps = [
        last | {"mark": "gap", "text": "lost", "detail": json.dumps({"lost": 7}), "time_ns": time_ns}
        for time_ns in (0, last["time_ns"])
    ]
    (result,) = run_experiments(replace(data, marks=[*data.marks, *gaps]))
    assert [told for told in result.warnings if told.startswith("7 events could not be written")]
