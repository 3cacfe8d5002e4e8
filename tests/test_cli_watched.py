"""Simulated runs hold the alerts that a replay finds; an import holds none, and its replay says why."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from thermograd.cli import main

SETTINGS = """
[alerts]
off = ["collapse.thermal"]

[sinks.file]
type = "jsonl"
path = "told.jsonl"
minimum = "info"
"""
PAIR = Path(__file__).parent / "data" / "pair"


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that runs a command in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_a_simulated_run_holds_its_alerts_and_its_reports_show_them(invoke):
    made = invoke("simulate", "--scenario", "throttling", "--minutes", "3", "--seed", "2")
    assert made.exit_code == 0
    found = json.loads(invoke("replay", "latest", "--json").stdout)["alerts"]
    assert {"throttle.warn", "collapse.thermal"} <= {alert["alert"] for alert in found}
    assert made.stdout.splitlines()[0].endswith(f" samples, {len(found)} alerts")
    checked = invoke("replay", "latest", "--check")
    assert checked.exit_code == 0
    assert f"identical to the {len(found)} recorded live" in checked.stdout
    assert f"Alerts: {len(found)} (" in invoke("report", "latest", "--format", "md").stdout
    assert "collapse.thermal" in invoke("show", "latest").stdout


def test_a_simulated_run_is_watched_with_the_settings_here_and_no_sink_is_told(invoke):
    Path("thermograd.toml").write_text(SETTINGS)
    invoke("simulate", "--scenario", "throttling", "--minutes", "3", "--seed", "2")
    Path("thermograd.toml").unlink()
    document = json.loads(invoke("replay", "latest", "--check", "--json").stdout)
    assert document["identical"] is True
    assert document["alerts"] > 0
    assert "collapse.thermal" not in invoke("show", "latest").stdout
    assert not Path("told.jsonl").exists()


def test_an_import_was_not_watched_and_says_so(invoke):
    assert invoke("import", str(PAIR)).exit_code == 0
    checked = invoke("replay", "latest", "--check")
    assert checked.exit_code == 0
    assert "nothing watched this run" in checked.stdout
    assert json.loads(invoke("replay", "latest", "--check", "--json").stdout)["identical"] is None
    assert "none recorded: nothing watched this run" in invoke("show", "latest").stdout
    assert "No alert was recorded: nothing watched" in invoke("report", "latest", "--format", "md").stdout
