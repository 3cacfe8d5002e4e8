"""Simulated devices are said to be, in what is told of many runs as in the report of one."""

import pytest
from click.testing import CliRunner
from thermograd.cli import main


def thermograd(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="thermograd")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet") / "runs"
    for seed in (1, 2):
        assert not thermograd("--runs", folder, "simulate", "--minutes", "1", "--seed", seed).exit_code
    return folder


@pytest.mark.parametrize("words", [["analyze", "--all"], ["compare", "--all", "--by", "name"], ["devices"]])
def test_the_answer_says_that_devices_are_simulated(runs, words):
    assert "SIMULATED: devices of 2 of 2 runs." in thermograd("--runs", runs, *words).stdout
    assert "SIMULATED: devices of 2 of 2 runs." in thermograd("--runs", runs, *words, "--json").stdout


def test_the_page_says_it_too(runs, tmp_path):
    thermograd("--runs", runs, "devices", "-o", tmp_path / "page")
    assert "SIMULATED: devices of 2 of 2 runs." in (tmp_path / "page" / "devices.html").read_text()
