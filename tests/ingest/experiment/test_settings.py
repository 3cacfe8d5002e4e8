"""The options of an experiment, as a user gives them."""

import json
import re

import pytest
from thermograd.ingest.experiment.arms.duty import DutyArm
from thermograd.ingest.experiment.arms.registry import make_arm
from thermograd.ingest.experiment.settings import ExperimentOptions


def test_a_name_a_mapping_and_json_mean_the_same():
    options = ExperimentOptions(arm="duty", block_s=30, seed=7)
    given = {"arm": "duty", "block_s": 30, "seed": 7}
    assert ExperimentOptions.parse(given) == ExperimentOptions.parse(json.dumps(given)) == options
    assert ExperimentOptions.parse(options) is options
    assert ExperimentOptions.parse("shadow") == ExperimentOptions.parse('"shadow"')
    assert ExperimentOptions.parse({"arm": "shadow", "shapes": ["zeros", "ones"]}).shapes == "zeros,ones"


def test_what_is_written_is_read_as_the_same():
    options = ExperimentOptions(arm="lr", bin_s=3, factor=0.5, plan=True)
    assert ExperimentOptions.parse(json.loads(json.dumps(options.to_json()))) == options
    assert "seed" not in options.to_json()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("dty", "the experiment's arm is 'dty'; allowed: duty, shadow, burner, cap, lr"),
        ({"block": 3}, "the experiment knows no block; allowed: arm, seed, block_s"),
        ({"duty": 1.0}, "the experiment's duty is 1.0; allowed: 0.05 to 0.95 of the time"),
        ({"duty": True}, "the experiment's duty is True"),
        ({"seed": -1}, "the experiment's seed is -1; allowed: a whole number from 0, below 2"),
        ({"block_s": float("nan")}, "the experiment's block_s is nan; allowed: seconds above 0"),
        ({"block_steps": 0}, "the experiment's block_steps is 0; allowed: a whole number from 1"),
        ({"plan": "yes"}, "the experiment's plan is 'yes'; allowed: true, false"),
        (
            {"arm": "lr", "stratum_bins": 11},
            "the experiment's stratum_bins is 11; allowed: 12 or more, lag_bins + 2",
        ),
        ({"bin_s": 5}, "the arm duty takes no bin_s; allowed: arm, seed, block_s, block_steps, start_step"),
        ({"arm": "shadow", "block_s": 5, "factor": 2}, "the arm shadow takes no block_s, factor; allowed"),
        ({"block_s": 5, "block_steps": 5}, "has block_s and block_steps; allowed: one of them"),
        ({"start_step": 5}, "has start_step without block_steps; allowed: both, or neither"),
        ({"plan": True, "block_steps": 5}, "has plan and block_steps; allowed: plan with block_s"),
        ("{", "the experiment is no JSON"),
        (3, "the experiment is 3; allowed: the name of an arm, or a mapping"),
        (["duty"], "allowed: the name of an arm, or a mapping"),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        ExperimentOptions.parse(given)
    assert "\n" not in str(raised.value)


def test_an_arm_is_made_of_the_options_that_are_its():
    arm = make_arm(ExperimentOptions(duty=0.4, seed=7))
    assert isinstance(arm, DutyArm)
    assert arm.options() == {"duty": 0.4}
