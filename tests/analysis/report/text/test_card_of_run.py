"""The card of a recorded run: what is known at once, then the same with the verdict."""

import json

import pytest
from click.testing import CliRunner
from simulated_runs import simulated
from thermograd.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("runs"), "throttling", minutes=3)


def cards(run, *options):
    answer = CliRunner().invoke(main, ["card", str(run.path), *options])
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.output.splitlines()]


def test_the_verdict_comes_last_and_changes_nothing_else(run):
    first, last = cards(run)
    assert "thermograd: verdict     Not worked out yet" in first[0]
    assert "Not worked out yet" not in last[0]
    assert first[1:] == last[1:]
    assert "SIMULATED" in last[2]
    assert "SIMULATED" in last[3]


def test_without_a_verdict_there_is_one_card(run):
    (only,) = cards(run, "--no-verdict")
    assert "Not worked out yet" in only[0]
