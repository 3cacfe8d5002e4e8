"""The commands and what strangers wrote: no control character reaches the terminal, JSON is JSON."""

import json

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.ingest.launch.launcher import name_of
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

NASTY = "a\x1b[31m\r\x9b2J\x08\x07\u202eb"


@pytest.fixture
def invoke(tmp_path):
    """Return a function that runs a command over a run whose every text is hostile."""
    made = create_run(
        tmp_path, "first", {"name": NASTY, "devices": {NASTY: {"model": NASTY, "sensors": [NASTY]}}}
    )
    writer = EventWriter(made.path, made.run_id, "w")
    writer.append("step", step=1, loss=float("nan"))
    writer.append("sample", device=NASTY, temperature_c=float("inf"))
    writer.append("mark", mark="gap", text=NASTY)
    writer.append("alert", alert=NASTY, severity=NASTY, message=NASTY, value=float("inf"))
    writer.close()

    def run(*arguments):
        return CliRunner().invoke(main, ["--runs", str(tmp_path), *arguments])

    return run


@pytest.mark.parametrize(
    "arguments",
    [["runs"], ["show", "latest"], ["analyze", "latest"], ["query", "FROM alerts"], ["query", "FROM runs"],
     ["compare", "latest"], ["verify", "latest"], ["show", NASTY + "?"]],
)  # fmt: skip
def test_no_control_character_of_a_stranger_is_printed(invoke, arguments):
    result = invoke(*arguments)
    assert result.output
    assert all(line.isprintable() for line in result.output.split("\n"))


@pytest.mark.parametrize("command", [["show"], ["analyze"], ["replay"]])
def test_json_is_json(invoke, command):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(invoke(*command, "latest", "--json").stdout, parse_constant=refuse)


def test_yes_without_an_age_is_a_usage_error_and_a_prune_speaks_json(invoke):
    assert invoke("runs", "--yes").exit_code == 2
    (row,) = json.loads(invoke("runs", "--prune-older-than", "0d", "--json").stdout)
    assert row["deleted"] is False
    assert invoke("runs", "--prune-older-than", "0d", "--yes", "--json").exit_code == 0
    assert json.loads(invoke("runs", "--json").stdout) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -m pkg.train --x 1", "pkg.train"),
        ("python train.py -m x", "train"),
        ("/usr/bin/torchrun --nproc 2 a/train.py", "train"),
        ("./train", "train"),
    ],
)
def test_a_command_gives_the_run_its_name(command, name):
    assert name_of(command.split()) == name


def test_a_naive_analysis_of_a_run_without_samples_says_why_it_is_empty(tmp_path):
    made = create_run(tmp_path, "bare")
    writer = EventWriter(made.path, made.run_id, "w")
    writer.append("step", step=1, loss=1.0)
    writer.close()
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), "analyze", "latest", "--method", "pearson"])
    assert "No device was sampled in this run." in result.stdout


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize(
    "arguments",
    [["analyze", "latest", "--max-lag"], ["analyze", "latest", "--tolerance"],
     ["compare", "latest", "--max-lag"], ["calibrate", "--minutes"], ["calibrate", "--hz"],
     ["simulate", "--hz"], ["simulate", "--coupling"]],
)  # fmt: skip
def test_a_number_that_is_none_is_a_usage_error(invoke, arguments, number):
    result = invoke(*arguments, number)
    assert result.exit_code == 2, result.output
