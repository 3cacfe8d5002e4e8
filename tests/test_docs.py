"""Documentation that runs: docstring examples, the README's Python, and help for every command."""

import doctest
import importlib
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from thermograd.cli import main

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "ingest", "stream", "analysis")
NAMES = sorted(
    f"thermograd.{room}.{path.stem}"
    for room in ROOMS
    for path in (ROOT / room).glob("*.py")
    if ">>> " in path.read_text()
)
COMMANDS = sorted(name for name, command in main.commands.items() if not command.hidden)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_examples_hold(name, tmp_path):
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"tmp": tmp_path}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_is_in_the_readme(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"thermograd {name}" in result.output or name in ("doctor",)
    assert "Example:" in result.output
    assert f"`{name}" in (ROOT / "README.md").read_text()


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        if "Trainer(" not in block:  # needs the reader's own model and data
            exec(compile(block, "README.md", "exec"), {})
    assert list((tmp_path / "runs").glob("*/run.json"))


def test_commands_are_click_commands():
    assert all(isinstance(command, click.Command) for command in main.commands.values())
