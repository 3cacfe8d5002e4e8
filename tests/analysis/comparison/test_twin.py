"""Two runs of one training: equal to the last bit, or the first step, rank and layer that differ."""

import json
import math

import numpy as np
import pytest
from thermograd.analysis.comparison.twin import compare_twins
from thermograd.analysis.comparison.twin_values import narrowest, ulps_apart
from thermograd.analysis.report.text.twin import describe_twin
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

SECOND_NS = 1_000_000_000
FACTS = {"versions": {"torch": "2.5.1"}, "argv": ["train.py"], "devices": {"GPU-a": {"model": "H100"}}}
LOSSES = [float(np.float32(4.0 / (1 + step))) for step in range(8)]


def make_run(
    runs, losses=LOSSES, facts=(), heat_c=40.0, ecc=0, ranks=1, layers=(), marks=(), norms=None, metrics=()
):
    """Write a run: the losses of rank r are r more; a device that warms to `heat_c`; marks; layer norms."""
    run = create_run(runs, "twin", FACTS | dict(facts))
    for rank in range(ranks):
        writer = EventWriter(run.path, run.run_id, f"node-r{rank}-{4711 + rank}-0a1b2c")
        for step, loss in enumerate(losses[rank] if ranks > 1 else losses, 1):
            norm = None if norms is None else norms[step - 1]
            writer.append("step", step * SECOND_NS, 0, step=step, rank=rank, loss=loss, grad_norm=norm)
        for step, norms_of in layers:
            detail = {"layer_norms": [{"layer": n, "norm": v, "share": 0.5} for n, v in norms_of.items()]}
            writer.append("mark", step * SECOND_NS, 0, mark="note", step=step, detail=json.dumps(detail))
        for mark in marks:
            writer.append("mark", SECOND_NS, 0, **mark)
        for step, name, value in metrics:
            writer.append("metric", step * SECOND_NS, 0, step=step, rank=rank, name=name, value=value)
        writer.close()
    agent = EventWriter(run.path, run.run_id, "node-agent-1-0a1b2c")
    for second in range(1, 9):
        values = {"temperature_c": heat_c + second, "power_w": 300.0, "ecc_corrected": ecc * second}
        agent.append("sample", second * SECOND_NS, 0, device="GPU-a", **values)
    agent.close()
    return run


def nudged(losses, step):
    """Return losses with one of them moved by one unit of float32's last place."""
    other = list(losses)
    other[step - 1] = float(np.nextafter(np.float32(other[step - 1]), np.float32(9)))
    return other


def test_equal_runs_are_equal_however_warm_the_second_was(tmp_path):
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, heat_c=55.0))
    assert (twin.verdict, twin.first, twin.compared["loss"], twin.common) == ("equal", None, 8, 8)
    assert twin.sentence == (
        "EQUAL to the last bit: loss in all 8 steps that both runs have. "
        "The second run's gpu 0 was 15.0 °C warmer (medians)."
    )
    assert "equal to the last bit" in describe_twin(twin)


def test_heat_that_was_asked_for_and_did_not_come_is_said(tmp_path):
    facts = {"twin": {"run": 2, "heat": "burner", "seed": None}}
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, facts=facts))
    assert (twin.verdict, twin.asked_heat) == ("equal", "burner")
    assert "was to be heated (burner), and no block of it came" in twin.sentence


def test_one_ulp_is_found_with_its_step_and_what_the_hardware_did_there(tmp_path):
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, nudged(LOSSES, 5), heat_c=70.0, ecc=3))
    first = twin.first
    assert (twin.verdict, first.step, first.rank, first.ulps, first.precision) == (
        "differs",
        5,
        0,
        1,
        "float32",
    )
    assert (first.different, first.equal_before, first.compared) == (1, 4, 8)
    assert 0 < first.relative < 1e-6
    here, there = twin.moments
    assert (here.temperature_c, there.temperature_c) == (45.0, 75.0)
    assert (here.ecc_corrected, there.ecc_corrected) == (0, 12)  # since the first sample
    assert "1 ulp of float32" in twin.sentence
    assert "nondeterminism of the code or a fault of the hardware" in twin.sentence


def test_the_rank_that_differs_first_is_named(tmp_path):
    ranks = [LOSSES, [loss + 1 for loss in LOSSES], [loss + 2 for loss in LOSSES]]
    other = [nudged(ranks[0], 7), ranks[1], nudged(ranks[2], 6)]
    twin = compare_twins(make_run(tmp_path, ranks, ranks=3), make_run(tmp_path, other, ranks=3))
    assert (twin.first.step, twin.first.rank, twin.ranks, twin.compared["loss"]) == (6, 2, 3, 24)
    assert "step 6 of rank 2" in twin.sentence


def test_nan_beside_nan_is_equal_and_beside_a_number_is_not(tmp_path):
    broken = [*LOSSES[:4], math.nan, *LOSSES[5:]]
    lost = [*LOSSES[:5], *[math.nan] * 3]
    for losses, told in ((broken, "in 1 value, first at step 5"), (lost, "from step 6 on")):
        twin = compare_twins(make_run(tmp_path, losses), make_run(tmp_path, losses))
        assert twin.verdict == "equal"
        assert f"in all 8 steps that both runs have; but loss is not finite {told}." in twin.sentence
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, broken))
    assert (twin.first.step, twin.first.ulps, twin.first.relative) == (5, None, None)
    assert json.loads(json.dumps(twin.to_json()))["first"]["second"] is None


def test_runs_of_other_lengths_or_with_an_exit_code_are_equal_only_so_far(tmp_path):
    short = make_run(tmp_path, LOSSES[:6])
    launcher = EventWriter(short.path, short.run_id, "node-launcher-1-0a1b2c", role="launcher")
    launcher.close({"state": "failed", "exit_code": 3})
    twin = compare_twins(make_run(tmp_path), short)
    assert twin.verdict == "equal so far"
    assert twin.sentence.startswith(
        "EQUAL SO FAR, to the last bit: loss in the 6 steps that both runs have; "
        "run 2 made 2 fewer; run 2 ended with exit code 3. "
    )


def test_a_control_without_heat_is_not_told_to_be_warmer(tmp_path):
    control = make_run(tmp_path, facts={"twin": {"run": 2, "heat": "none"}}, heat_c=55.0)
    twin = compare_twins(make_run(tmp_path), control)
    assert twin.sentence.endswith("in all 8 steps that both runs have. Neither run was heated: a control.")


def test_a_value_that_one_run_does_not_know_is_no_difference(tmp_path):
    norms = [1.0] * 8
    twin = compare_twins(make_run(tmp_path, norms=norms), make_run(tmp_path, norms=[*norms[:6], None, None]))
    assert (twin.verdict, twin.compared["grad_norm"], twin.one_sided) == ("equal", 6, {"grad_norm": 2})
    assert "Known in one run only: 2 of gradient norm." in describe_twin(twin)


def test_the_layer_that_differs_most_is_named(tmp_path):
    one = [(2, {"h.0": 1.0, "h.1": 2.0}), (4, {"h.0": 1.0, "h.1": 2.0, "h.2": 3.0})]
    two = [(2, {"h.0": 1.0, "h.1": 2.0}), (4, {"h.0": 1.001, "h.1": 2.5, "h.2": 3.0})]
    twin = compare_twins(make_run(tmp_path, layers=one), make_run(tmp_path, nudged(LOSSES, 4), layers=two))
    layer = twin.layer
    assert (layer.layer, layer.step, layer.layers_different, layer.layers_compared) == ("h.1", 4, 2, 3)
    assert "the norms of 2 of 3 layers differ, most h.1: 2 and 2.5" in describe_twin(twin)


def test_what_strangers_wrote_reaches_no_terminal_as_it_is(tmp_path):
    layers = [(4, {"h.\x1b[2J": 1.0})], [(4, {"h.\x1b[2J": 2.0})]
    facts = {"config": {"lr\x1b[2J": "\x1b]0;title\x07"}}
    twin = compare_twins(
        make_run(tmp_path, layers=layers[0]),
        make_run(tmp_path, nudged(LOSSES, 4), facts=facts, layers=layers[1]),
    )
    text = describe_twin(twin)
    assert "config lr\ufffd[2J is none in the first run and \ufffd]0;title\ufffd in the second" in text
    assert "most h.\ufffd[2J: 1 and 2" in text
    assert text.replace("\n", "").isprintable()


def test_of_the_scripts_own_metrics_those_of_the_training_are_compared(tmp_path):
    one = [(4, "eval_loss", 2.0), (4, "tokens_per_s", 100.0), (8, "eval_loss", 1.5)]
    two = [(4, "eval_loss", 2.0), (4, "tokens_per_s", 90.0), (8, "eval_loss", 1.25)]
    twin = compare_twins(make_run(tmp_path, metrics=one), make_run(tmp_path, metrics=two))
    assert (twin.verdict, twin.first.signal, twin.first.step) == ("differs", "eval_loss", 8)
    assert "tokens_per_s" not in twin.compared


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            {"versions": {"torch": "2.6.0"}},
            "packages torch is 2.5.1 in the first run and 2.6.0 in the second",
        ),
        ({"devices": {"GPU-b": {"model": "A100"}}}, "device models is H100 in the first run and A100"),
        (
            {"argv": ["train.py", "--lr", "1e-3"]},
            "command is train.py in the first run and train.py --lr 1e-3",
        ),
        ({"config": {"lr": 0.1}}, "config lr is none in the first run and 0.1 in the second"),
        ({"seed": 3}, "seed is none in the first run and 3 in the second"),
    ],
)
def test_another_training_is_no_twin_and_it_is_said_why(tmp_path, facts, reason):
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, facts=facts))
    assert twin.verdict == "not comparable"
    assert twin.sentence.startswith(f"NOT COMPARABLE: {reason}")
    assert describe_twin(twin).startswith("Not the same training")


def test_places_names_and_other_devices_of_the_model_leave_it_a_twin(tmp_path):
    facts = {
        "argv": ["train.py", "--output-dir", "b", "--log-file=x"],
        "config": {"logging_dir": "runs/Nov28"},
        "devices": {"GPU-b": {"model": "H100"}},
        "host": "n2",
    }
    one = {"argv": ["train.py", "--output-dir", "a", "--log-file=y"], "config": {"logging_dir": "runs/Nov27"}}
    twin = compare_twins(make_run(tmp_path, facts=one), make_run(tmp_path, facts=facts))
    assert (twin.verdict, twin.settings) == ("equal", [])
    assert {setting.name for setting in twin.places} == {"command", "logging_dir", "devices", "host"}


def test_runs_without_a_step_or_a_value_in_common_are_not_comparable(tmp_path):
    twin = compare_twins(make_run(tmp_path), make_run(tmp_path, [None] * 8))
    assert twin.reasons == ["no loss and no gradient norm is known in both runs at any step"]
    with pytest.raises(NotEnoughDataError, match="has no training step"):
        compare_twins(make_run(tmp_path), make_run(tmp_path, []))
    run = make_run(tmp_path)
    with pytest.raises(NotEnoughDataError, match="a twin is two runs"):
        compare_twins(run, run)


def test_what_megatrons_replay_said_is_told_with_its_step(tmp_path):
    said = "Rank 3, node n1, device 3, iteration #120: Possible persistent error!"
    run = make_run(tmp_path, marks=[{"mark": "note", "text": said}])
    twin = compare_twins(make_run(tmp_path), run)
    [(run_id, replay)] = twin.replays
    assert (run_id, replay.verdict, replay.step, replay.rank) == (run.run_id, "persistent", 120, 3)
    assert "Megatron-LM in run 2 at step 120 of rank 3: persistent" in describe_twin(twin)


def test_ulps_are_counted_in_the_narrowest_type_that_holds_the_values():
    assert narrowest(np.array([1.0, 0.5, math.nan])) == "bfloat16"
    assert narrowest(np.array([float(np.float16(0.1))])) == "float16"
    assert ulps_apart(1.0, 1.0 + 2**-7, "bfloat16") == 1
    assert ulps_apart(1.0, 1.0 + 2**-23, "float32") == 1
    assert ulps_apart(float(np.float32(1e-45)), -float(np.float32(1e-45)), "float32") == 2
    assert ulps_apart(1.0, 1.0 + 2**-10, "float16") == 1
