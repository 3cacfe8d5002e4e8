"""`thermograd experiment` and `thermograd twin` up to the training: options, refusals, environment, seeds."""

import json
import os
import random
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from thermograd.analysis.report.text.experiment_verdict import verdict_lines
from thermograd.cli import main
from thermograd.ingest.experiment.settings import VARIABLE, ExperimentOptions
from thermograd.ingest.launch import twins
from thermograd.ingest.launch.experiment import announcement, launch_experiment
from thermograd.ingest.launch.seeding import SEED, SEEDS_SCRIPT, seed_as_told, seed_environment
from thermograd.store.errors import ConfigError, NotEnoughDataError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

SECOND_NS = 1_000_000_000


def make_run(runs, losses, marks=(), name="r"):
    run = create_run(runs, name)
    writer = EventWriter(run.path, run.run_id, "node-r0-1-0a1b2c")
    for step, loss in enumerate(losses, 1):
        writer.append("step", step * SECOND_NS, 0, step=step, rank=0, loss=loss)
    for mark in marks:
        writer.append("mark", SECOND_NS, 0, **mark)
    writer.close()
    return run


def test_a_command_gets_the_options_and_a_seed_and_its_exit_code_is_ours(tmp_path, capfd):
    said = []
    script = f"import os, sys; print(os.environ['{VARIABLE}']); sys.exit(3)"
    command = (sys.executable, "-c", script)
    code = launch_experiment(tmp_path, None, 5.0, command, said.append, {"arm": "duty", "block_s": 5.0})
    told = json.loads(capfd.readouterr().out)
    assert code == 3
    assert (told["arm"], told["block_s"], told["plan"]) == ("duty", 5.0, False)
    assert said[0].endswith(f"pairs of a hot and a cool block of 5 s, drawn by seed {told['seed']}")
    assert said[1].startswith("The arithmetic is not changed")
    assert said[2:] == ["nothing recorded: no torch was seen in the Python processes of the command"]


@pytest.mark.parametrize(
    ("asked", "start", "changed"),
    [
        ({"arm": "burner", "seed": 7, "block_steps": 50}, "experiment: arm burner", "is not changed"),
        ({"arm": "shadow", "seed": 7, "bin_s": 2.0}, "experiment: arm shadow", "are thrown away"),
        ({"arm": "lr", "seed": 7, "factor": 3.0}, "experiment: arm lr", "THIS CHANGES THE TRAINING"),
    ],
)
def test_two_lines_say_what_is_done_and_what_of_the_training_is_changed(asked, start, changed):
    first, second = announcement(ExperimentOptions.parse(asked))
    assert first.startswith(start)
    assert first.endswith("drawn by seed 7")
    assert changed in second


def test_a_planned_experiment_says_how_long_its_probe_is():
    told = [announcement(ExperimentOptions(arm=arm, seed=7, plan=True))[2] for arm in ("duty", "cap", "lr")]
    assert told[0] == "first a probe, hot for 60 s and cool for 100 s, and the plan of it"
    assert told[1] == "first a probe, hot for 60 s and cool for 60 s, and the plan of it"
    assert told[2] == "first a probe of 120 s, in which nothing is done, and the plan of it"


def test_what_is_not_allowed_is_refused_before_the_command_begins(tmp_path):
    asked = {"arm": "shadow", "stratum_bins": 3, "lag_bins": 10}
    with pytest.raises(ConfigError, match="stratum_bins is 3"):
        launch_experiment(tmp_path, None, 5.0, ("false",), pytest.fail, asked)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["experiment"], 2, "Give a COMMAND"),
        (["experiment", "--plan", "a", "b"], 2, "--plan is of one RUN"),
        (["experiment", "--plan", "nope", "--json"], 1, "there is no run in"),
        (["experiment", "word", "--", "true"], 2, "'word' stands before --"),
        (["experiment", "--json", "--", "true"], 2, "--json is of --plan RUN"),
        (["experiment", "--epochs", "3", "--", "true"], 2, "No such option"),
        (
            ["experiment", "--bin", "5", "--", "true"],
            2,
            "--arm duty takes no --bin; allowed: --seed, --block",
        ),
        (["experiment", "--power", ".8", "--", "true"], 2, "--power: only with --plan"),
        (["experiment", "--block-steps", "9" * 20, "--", "true"], 2, "not in the range 1<=x<=2147483647"),
        (["experiment", "--block", "5", "--block-steps", "5", "--", "true"], 1, "allowed: one of them"),
        (["experiment", "--start-step", "5", "--", "true"], 1, "start_step without block_steps"),
        (["experiment", "latest"], 127, "'latest' was not found"),
        (["twin", "--", "no-such-program"], 127, "'no-such-program' was not found"),
        (["twin", "--heat", "none", "--load", ".5", "--", "true"], 2, "--heat none takes no --load"),
        (["twin", "one", "two", "--seed", "3"], 2, "--seed: only with a COMMAND"),
        (["twin", "one"], 2, "Give two runs"),
        (["twin", "word", "--", "true"], 2, "nothing but options before it"),
        (["twin", "--json", "--", "true"], 2, "--json is of RUN RUN"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(tmp_path, words, code, text):
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), *words])
    assert result.exit_code == code
    assert text in result.output
    assert "drawn by seed" not in result.output


def test_a_run_whose_training_refused_says_so_and_one_that_was_too_short(tmp_path):
    detail = json.dumps({"experiment_refused": "FSDP cannot have shadow steps"})
    refused = make_run(tmp_path, [1.0], [{"mark": "note", "text": "no", "detail": detail}])
    assert verdict_lines(Run(refused.path))[0] == "no experiment: FSDP cannot have shadow steps"
    short = verdict_lines(make_run(tmp_path, [1.0, 2.0]))
    assert short[0].startswith(
        "no experiment: the training had ended before its first assignment, after 2 st"
    )
    assert short[1].startswith("more: thermograd report ")


class PlanOfNothing:
    def to_json(self):
        return {"block_s": 60.0}

    def lines(self):
        return ["minutes  pairs", "     30     15"]


@pytest.fixture
def planned(monkeypatch):
    """Return what a plan is asked; none is made of fewer than 2 steps."""
    asked = []

    def plan_for_run(run, **question):
        asked.append(question)
        if run.counts()["step"] < 2:
            raise NotEnoughDataError("too few steps")
        return PlanOfNothing()

    name = "thermograd.analysis.run.experiment_plan"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(plan_for_run=plan_for_run))
    monkeypatch.setattr(os, "nice", lambda more: 0, raising=False)  # the process that tests goes on as it is
    return asked


def test_a_plan_of_an_earlier_run_is_told_with_the_question(tmp_path, planned):
    run = make_run(tmp_path, [2.0, 1.0])
    words = ["--runs", str(tmp_path), "experiment", "--plan", run.run_id]
    told = CliRunner().invoke(main, [*words, "--effect", "0.2", "--power", "0.8", "--minutes", "30"])
    assert told.stdout == "minutes  pairs\n     30     15\n"
    assert planned == [{"effect_sd": 0.2, "power": 0.8, "minutes": 30.0, "arm": "duty"}]
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) == {"block_s": 60.0}


def test_the_plan_beside_a_command_goes_into_the_run_and_one_of_too_few_steps_is_none(tmp_path, planned):
    long, short = make_run(tmp_path, [2.0, 1.0]), make_run(tmp_path, [2.0])
    told = [CliRunner().invoke(main, ["experiment-plan", str(run.path)]) for run in (long, short)]
    assert json.loads((long.path / "experiment_plan.json").read_text()) == {"block_s": 60.0}
    assert "thermograd: minutes  pairs" in told[0].stderr
    assert told[1].stderr == "thermograd: no plan: too few steps\n"
    assert not (short.path / "experiment_plan.json").exists()


# -- twins -----------------------------------------------------------------------------------------


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Replace the launcher: each command leaves a run with the next losses, or ends with the next code."""
    commands, outcomes = [], []

    def launch(runs, name, hz, command, say, settings=None, card=False, beside=None):
        losses, code = outcomes[len(commands)]
        commands.append((name, beside.environment, beside.facts["twin"]))
        beside.ended([] if losses is None else [make_run(tmp_path, losses, name=name).path], code)
        return code

    monkeypatch.setattr(twins, "launch", launch)
    return commands, outcomes


def twin(tmp_path, *words):
    return CliRunner().invoke(main, ["--runs", str(tmp_path), "twin", *words])


def test_the_second_run_alone_has_heat_and_both_have_the_seed(tmp_path, launched):
    commands, outcomes = launched
    outcomes += [([2.0, 1.0], 0), ([2.0, 1.5], 0)]
    result = twin(tmp_path, "--seed", "4", "--heat", "duty", "--", "python", "train.py")
    [(one, first, _), (two, second, facts)] = commands
    assert (one, two) == ("train-twin-1", "train-twin-2")
    assert (first[SEED], second[SEED], first[SEEDS_SCRIPT]) == ("4", "4", "1")
    assert first[VARIABLE] == "0"  # whatever the shell asks for
    assert json.loads(second[VARIABLE])["arm"] == facts["heat"] == "duty"
    assert result.exit_code == 0
    assert "DIFFERS from step 2: loss 1 and 1.5" in result.output


@pytest.mark.parametrize(
    ("outcomes", "code", "text"),
    [
        ([(None, 3)], 1, "no twin: the first run's command ended with exit code 3"),
        ([([1.0], 130)], 130, "no twin: the first run's command ended with exit code 130"),
        ([(None, 0)], 1, "no twin: the first run's command recorded no run"),
        (
            [([1.0], 0), ([1.0], 1)],
            1,
            "the second run's command ended with exit code 1, the first one's with 0",
        ),
    ],
)
def test_a_command_that_fails_makes_no_twin_and_it_is_said(tmp_path, launched, outcomes, code, text):
    launched[1].extend(outcomes)
    result = twin(tmp_path, "--heat", "none", "--", "python", "train.py")
    assert result.exit_code == code
    assert text in result.output
    assert all(environment[VARIABLE] == "0" for _, environment, _ in launched[0])


def test_two_runs_are_compared_as_json_and_a_difference_is_no_error(tmp_path):
    one, two = (make_run(tmp_path, losses, name=f"r{losses[1]}") for losses in ([2.0, 1.0], [2.0, 1.5]))
    result = twin(tmp_path, one.run_id, two.run_id, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["verdict"], told["first"]["step"]) == (0, "differs", 2)


def test_a_hash_seed_of_the_user_stays_and_the_script_is_seeded_only_where_asked():
    assert seed_environment(None, environment={}) == {SEED: "0", "PYTHONHASHSEED": "0"}
    assert seed_environment(5, environment={"PYTHONHASHSEED": "3"}) == {SEED: "5", SEEDS_SCRIPT: "1"}


def test_torch_numpy_and_random_are_seeded_in_the_script(monkeypatch):
    seeds = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(manual_seed=seeds.append))
    monkeypatch.setitem(
        sys.modules, "numpy", SimpleNamespace(random=SimpleNamespace(seed=lambda n: seeds.append(-n)))
    )
    seed_as_told()
    assert seeds == []
    monkeypatch.setenv(SEEDS_SCRIPT, "1")
    monkeypatch.setenv(SEED, "9")
    before = random.getstate()
    seed_as_told()
    first = random.random()
    random.seed(9)
    assert (seeds, first) == ([9, -9], random.random())
    random.setstate(before)
