"""Commands are imported when they are called, and the help of all knows what each does before."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.console import Group, LazyCommands

ROOT = Path(__file__).parents[1]
MODULES = ("commands/*.py", "*/commands.py", "*/*_commands.py", "analysis/serve/command.py")


def in_modules() -> dict[str, click.Command]:
    """Return what each command module defines, but for the commands of groups, by name."""
    found: dict[str, click.Command] = {}
    for path in sorted(path for pattern in MODULES for path in ROOT.glob(pattern)):
        if path.name == "__init__.py" or path.parent.name in ("tests", ".venv"):
            continue
        module = import_module("thermograd." + ".".join(path.relative_to(ROOT).with_suffix("").parts))
        own = [value for value in vars(module).values() if isinstance(value, click.Command)]
        inner = {
            id(command)
            for value in own
            if isinstance(value, click.Group)
            for command in value.commands.values()
        }
        found |= {str(command.name): command for command in own if id(command) not in inner}
    return found


def test_the_table_of_commands_has_every_command_under_its_name():
    assert dict(main.commands) == in_modules()


@pytest.mark.parametrize("columns", ["", "none", "-1", "30", "61", "80", "200"])
def test_the_help_of_all_says_what_the_commands_themselves_say_as_wide_as_click(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    eager = Group("main", dict(main.commands))
    eager.params, eager.help, eager.context_settings = main.params, main.help, main.context_settings

    context = click.Context(eager, info_name="x", **main.context_settings)
    expected = click.Group.get_help(eager, context)

    assert main.get_help(click.Context(main, info_name="x", **main.context_settings)) == expected
    assert "Commands:" in expected


def test_a_command_is_imported_once_it_is_asked_for():
    commands = LazyCommands({"there": ("nowhere.at_all:there", "Is there."), "hidden": ("nowhere:x", None)})

    assert list(commands) == ["there", "hidden"]
    assert commands.shown() == [("there", "Is there.")]
    assert len(commands) == 2
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = commands["there"]
    commands["there"] = click.Command("there")
    assert commands["there"].name == "there"
    del commands["there"]
    assert "there" not in commands


def test_an_unknown_command_is_a_usage_error_with_a_suggestion():
    result = CliRunner().invoke(main, ["analyse", "latest"])

    assert result.exit_code == 2
    assert "No such command 'analyse'" in result.output
    assert "analyze" in result.output


def test_a_shell_completes_names_of_commands_and_options():
    complete = ShellComplete(main, {}, "thermograd", "_THERMOGRAD_COMPLETE")

    names = {item.value: item.help for item in complete.get_completions([], "co")}
    options = [item.value for item in complete.get_completions(["show"], "--al")]

    assert list(names) == ["compact", "compare", "config"]
    assert names["config"].startswith("Show the configuration")
    assert options == ["--alerts"]


def loaded(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_help_of_all_loads_nothing_of_ours_but_the_console():
    program = (
        "import sys, thermograd.cli\n"
        "thermograd.cli.main(['--help'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )

    ours = {name for name in loaded(program) if name.partition(".")[0] == "thermograd"}

    assert ours <= {
        "thermograd",
        "thermograd.cli",
        "thermograd.store",
        "thermograd.store.console",
        "thermograd.store.lazy_names",
        "thermograd.store.version",
    }
