"""The commands `simulate`, `compare` and the end of `demo`, as a user meets them."""

import json
import re

import pytest
from click.testing import CliRunner
from synthetic import make_run
from thermograd.cli import main
from thermograd.store.runs.catalogue import list_runs


@pytest.fixture
def invoke(tmp_path):
    """Return a function that runs a command over the test's runs directory."""

    def run(*arguments):
        return CliRunner().invoke(main, ["--runs", str(tmp_path / "runs"), *map(str, arguments)])

    return run


def error_of(result, code=1):
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def test_simulate_writes_a_run_that_all_commands_know_as_simulated(invoke, tmp_path):
    result = invoke("simulate", "--coupling", 0.3, "--lag", 4, "--minutes", 1, "--seed", 9)
    (run,) = list_runs(tmp_path / "runs")
    assert result.stdout.startswith(f"{run.run_id}: ")
    assert "truth: coupled, rho 0.3, lag 4 s, seed 9" in result.stdout
    assert f"thermograd analyze {run.run_id}" in result.stderr
    (row,) = json.loads(invoke("runs", "--json").stdout)
    assert (row["state"], row["devices"]) == ("simulated", ["simulated:gpu"])
    shown = invoke("show", run.run_id).stdout
    assert "truth    simulated: scenario coupled, rho 0.3, lag_s 4" in shown
    assert "SIMULATED" in shown
    assert "simulated:gpu: simulated" in invoke("analyze", run.run_id).stdout


def test_simulate_answers_in_json(invoke):
    document = json.loads(invoke("simulate", "--minutes", 0.1, "--json").stdout)
    assert document["state"] == "simulated"
    assert document["truth"]["scenario"] == "uncoupled"
    assert document["steps"] > 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--scenario", "../<script>"],
            1,
            "there is no scenario '../<script>'; there are: uncoupled, coupled",
        ),
        (["--coupling", "1.5"], 2, "1.5 is not in the range -1<=x<=1"),
        (["--minutes", "-3"], 1, "the length is -3 minutes"),
        (["--hz", "100"], 2, "100.0 is not in the range 0.1<=x<=10"),
        (["--coupling", "0.2", "--lag", "2.5"], 1, "allowed are whole seconds"),
        (["--scenario", "rw", "--coupling", "0.3"], 1, "takes no coupling; these do"),
        (["--scenario", "experiment-null", "--minutes", "nan"], 1, "the length is nan minutes"),
        (["--scenario", "experiment-null", "--coupling", ".3"], 2, "has an effect, or none, of its own"),
        (["--seed", "-1"], 2, "-1 is not in the range"),
        (["--hosts", "8", "--ranks", "3"], 1, "3 ranks on 8 hosts; allowed are 8 to 4096 ranks"),
        (["--hosts", "1000"], 1, "8000 ranks on 1000 hosts"),
        (["--hosts", "2", "--minutes", "nan"], 1, "the length is nan minutes"),
        (["--hosts", "2", "--minutes", "inf"], 1, "the length is inf minutes"),
        (["--hosts", "2", "--minutes", "0"], 1, "the length is 0 minutes"),
        (["--hosts", "2", "--lag", "nan"], 1, "allowed are whole seconds"),
        (["--hosts", "2", "--lag", "2.5"], 1, "allowed are whole seconds"),
        (["--clock-offset", ".2"], 2, "--clock-offset is of a job on several hosts; give --hosts"),
        (["--ranks", "3"], 2, "--ranks is of a job on several hosts; give --hosts"),
    ],
)
def test_simulate_refuses_in_one_sentence_and_writes_nothing(invoke, tmp_path, arguments, code, message):
    assert message in error_of(invoke("simulate", *arguments), code)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [["devices"], ["report", "latest"], ["config", "show"]])
def test_an_option_of_all_commands_after_one_is_said_to_stand_before(invoke, words):
    result = invoke(*words, "--runs", "elsewhere")
    assert "--runs here; it stands before the command" in error_of(result, 2)


def test_every_scenario_is_listed_with_what_it_is(invoke, tmp_path):
    from thermograd.analysis.calibration.scenarios import scenario_list, scenarios
    from thermograd.ingest.simulate.experiment import world_list

    lines = invoke("simulate", "--list").stdout.splitlines()
    about = {name: scenario.about for name, scenario in scenarios().items()} | world_list()
    for name, text in about.items():
        assert any(line.split() == [name, *text.split()] for line in lines)
    groups = json.loads(invoke("simulate", "--list", "--json").stdout)
    assert groups == scenario_list() | {"experiments": world_list()}
    assert not (tmp_path / "runs").exists()


OWN = """
from thermograd.analysis.calibration.zoo import Pair, null

@null("two-hums", "two hums")
def hums(rng, m):
    return Pair(*rng.standard_normal((2, m)))
"""


@pytest.fixture
def own(tmp_path):
    """Return a file that adds a process, which is taken out again."""
    from thermograd.analysis.calibration.zoo import ZOO

    before, path = dict(ZOO), tmp_path / "own.py"
    path.write_text(OWN)
    yield path
    ZOO.clear()
    ZOO.update(before)


def test_a_process_of_ones_own_is_simulated_and_measured(invoke, own, tmp_path):
    made = invoke("simulate", "--add", own, "--scenario", "two-hums", "--minutes", 1)
    assert "truth: two-hums, not coupled, seed 0 (two hums)" in made.stdout
    again = error_of(invoke("calibrate", "--add", own, "-o", tmp_path / "c.html"))
    assert "there is a process 'two-hums' already" in again


def test_calibrate_measures_what_it_is_told_to(invoke, own, tmp_path):
    arguments = ("calibrate", "--runs", 1, "--minutes", 2, "-o", tmp_path / "c.html")
    result = invoke(*arguments, "--add", own, "--process", "Cont .3", "--process", "pulses20")
    assert result.exit_code == 0, result.stderr
    rows = [line.split()[:1] for line in result.stdout.splitlines()]
    assert [row for row in rows if row in (["two-hums"], ["pulses20"], ["cont"])] == [
        ["pulses20"],
        ["two-hums"],
        ["cont"],
    ]
    assert "there is no process 'nonsense'; there are: ar.5" in error_of(
        invoke(*arguments, "--process", "nonsense")
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "it decorates none"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (OWN.replace("(2, m)", "(2, 3)"), "made x and y of shapes ((3,), (3,)) for 75 bins"),
        (OWN.replace("*rng", "*float('nan') * rng"), "made nothing but missing values"),
        (OWN.replace('"two-hums"', '"ar.9"'), "there is a process 'ar.9' already"),
    ],
)
def test_a_file_that_adds_no_process_is_refused_in_one_sentence(invoke, own, code, said):
    own.write_text(code)
    message = error_of(invoke("simulate", "--add", own, "--list"))
    assert f"{own} adds no process: " in message
    assert said in message


def test_compare_says_that_copies_are_one_training_and_writes_what_was_asked_for(invoke, tmp_path):
    pytest.importorskip("vl_convert")
    for seed in (0, 0, 1):
        invoke("simulate", "--coupling", 0.5, "--minutes", 2, "--seed", seed)
    ids = [run.run_id for run in list_runs(tmp_path / "runs")]
    result = invoke("compare", *ids, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "\nCANNOT TELL from 2 different trainings" in result.stdout
    assert "they count once" in result.stdout
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out" / "compare.svg")
    page = (tmp_path / "out" / "compare.html").read_text()
    parts = set(re.findall(r'<li><a href="#([a-z]+)">', page))
    assert parts >= {"question", "differ", "together", "sql"}
    assert parts <= set(re.findall(r'<h2 id="([a-z]+)"', page))
    document = json.loads(invoke("compare", *ids, "--json").stdout)
    assert (len(document["runs"]), document["counted"]) == (3, 2)


def test_compare_refuses_what_is_no_comparison(invoke, tmp_path):
    run = make_run(tmp_path / "runs", steps=10, seconds=5.0)
    assert "at least two different runs" in error_of(invoke("compare", run.run_id))
    assert "at least two different runs" in error_of(invoke("compare", "latest", run.run_id))
    assert "no run 'nonsense'" in error_of(invoke("compare", run.run_id, "nonsense"))
    error_of(invoke("compare"), code=2)


def test_the_demo_ends_with_two_runs_of_known_truth_and_the_report(invoke, tmp_path, monkeypatch):
    pytest.importorskip("vl_convert")
    monkeypatch.setattr(
        "thermograd.ingest.demo.record_devices", lambda runs, *_: make_run(runs, steps=0, seconds=5.0)
    )
    result = invoke("demo", "--no-train")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    table = lines[lines.index("What the instrument is for: is gradient norm coupled to temperature?") : -2]
    assert max(map(len, table)) <= 80
    assert len(table) <= 20
    assert "simulated, 20 min: NOT coupled," in result.stdout
    assert sum("no coupling" in line for line in table) == 1
    assert any("COUPLED by 0.3" in line and line.endswith("COUPLED") for line in table)
    assert lines[-1].startswith("Report    ")
    assert lines[-1].endswith("report.html")
    states = [run.state() for run in list_runs(tmp_path / "runs")]
    assert sorted(states)[-2:] == ["simulated", "simulated"]
