"""The card of a run: five lines that never say a number that was not measured."""

import pytest
from thermograd.store.card.switch import card_is_wanted
from thermograd.store.card.text import CardFacts, card_lines, command_for, throttled_by


def told(**facts):
    """Return a card's lines by what each is about."""
    known = {"run_id": "r1", "state": "finished", "steps": 600, "steps_text": "600 steps"}
    known |= {"analyze": "thermograd analyze r1", "report": "thermograd report r1", "watched": True}
    lines = card_lines(CardFacts(**known | facts))
    assert all(line.startswith("thermograd: ") for line in lines)
    parts = [line.removeprefix("thermograd: ").split(maxsplit=1) for line in lines]
    return dict(parts)


def test_a_card_has_five_lines_in_one_order():
    assert list(told()) == ["verdict", "spikes", "throttling", "energy", "report"]


def test_where_nothing_was_sampled_nothing_is_a_number():
    card = told(steps=0, steps_text="0 steps")
    assert card["verdict"] == "None, for no training step was recorded."
    assert card["spikes"] == "not looked for: no training step was recorded"
    assert card["throttling"] == card["energy"] == "not measured: no device was sampled"


def test_without_an_analysis_the_verdict_is_a_command():
    assert told()["verdict"] == "Not worked out yet; this tells it: thermograd analyze r1"
    assert told(verdict="Nothing found.")["verdict"] == "Nothing found."


@pytest.mark.parametrize(
    ("state", "reason", "begins"),
    [
        ("failed", "ValueError: boom", "The run failed (ValueError: boom). Nothing found."),
        ("crashed", None, "The run crashed. Nothing found."),
        ("interrupted", "SIGINT", "The run was interrupted (SIGINT). Nothing found."),
    ],
)
def test_a_run_that_did_not_finish_says_so_before_its_verdict(state, reason, begins):
    assert told(state=state, reason=reason, verdict="Nothing found.")["verdict"] == begins


def test_few_steps_have_no_spike_that_could_be_told():
    assert told(steps=1, steps_text="1 step")["spikes"] == "none in 1 step (too few to tell, 20 are needed)"
    assert told(watched=False)["spikes"] == "not looked for: no agent watched this run"
    assert told(steps_text="600 steps on 64 ranks")["spikes"] == "none in 600 steps on 64 ranks"


def test_the_worst_spike_is_told_and_what_was_not_finite():
    assert told(spikes=1, worst="step 7: norm 9")["spikes"] == "1 in 600 steps: step 7: norm 9"
    card = told(spikes=3, worst="step 7: norm 9", nonfinite=2, nonfinite_from=5)
    assert card["spikes"] == (
        "loss or norm not finite in 2 of 600 steps, from step 5; spikes 3 in 600 steps; worst: step 7: norm 9"
    )


def test_devices_that_do_not_report_throttling_have_no_share_of_it():
    sampled = {"devices": 1, "recorded_s": 60.0}
    assert told(**sampled, why_unknown="no counter")["throttling"] == (
        "not measured: 1 GPU did not report it (no counter)"
    )
    assert told(devices=1)["throttling"] == "not measured: the run was too short for two samples"
    assert told(**sampled)["energy"] == "not measured"


def test_simulated_devices_are_said_beside_every_number():
    card = told(
        devices=64, recorded_s=1200.0, throttled_share=0.39, simulated=True, energy_j=7.2e6, energy_devices=63
    )
    assert card["throttling"] == "by heat for 39 % of 20 min on average (64 SIMULATED GPUs)"
    assert card["energy"] == "2 kWh (63 of 64 SIMULATED GPUs)"


def test_a_little_throttling_is_not_none():
    assert told(devices=1, recorded_s=60.0, throttled_share=1e-6)["throttling"].startswith(
        "by heat for under 0.1 %"
    )
    assert told(devices=1, recorded_s=60.0, throttled_share=0.0)["throttling"] == "none in 60 s (1 GPU)"
    assert (throttled_by(0.1, 0.0), throttled_by(0.0, 0.2)) == ("heat", "the power brake")
    assert throttled_by(0.1, 0.2) == "heat and the power brake"


def test_hostile_texts_stay_on_their_line():
    card = told(worst="a\n\x1b[31mb", spikes=1, state="failed", reason="x\r\ny" * 500, verdict="z" * 5000)
    assert all(text.isprintable() and len(text) <= 300 for text in card.values())


def test_the_command_names_the_directory_of_runs_where_it_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command_for(tmp_path / "runs" / "a", "report") == "thermograd report a"
    assert command_for(tmp_path / "my runs" / "a", "report") == "thermograd --runs 'my runs' report a"


def test_the_switch_turns_it_off():
    assert card_is_wanted({})
    assert card_is_wanted({"THERMOGRAD_CARD": "1"})
    assert not card_is_wanted({"THERMOGRAD_CARD": "0"})
