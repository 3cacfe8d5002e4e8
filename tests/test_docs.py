"""Documentation that runs: docstring examples, commands with their output, SQL, Python, links, help."""

import contextlib
import doctest
import html
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner
from synthetic import make_run
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.fleet.analyze import analyze_fleet
from thermograd.cli import main
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.importers.recording import Format, Head, Hints
from thermograd.store.events import ALERTS, COMMON, KINDS, SEVERITIES
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.stream.pipeline.config import load_config
from thermograd.stream.sinks.notifier import ADVICE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS = ("store", "ingest", "stream", "analysis", "commands")
NAMES = sorted(
    "thermograd."
    + path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if ">>> " in path.read_text()
)
COMMANDS = sorted(name for name, command in main.commands.items() if not command.hidden)
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
NOT_RUN = {
    "demo": "trains for a minute; tests/ingest/test_demo.py runs it",
    "run": "starts processes; tests/ingest/launch/test_launcher.py runs it",
    "experiment": "starts processes; tests/ingest/launch/test_experiment_command.py runs it",
    "ship": "writes to a bucket; tests/store/shipping/test_by_hand.py runs it",
    "cache": "is of the user's own cache; tests/store/places/test_at_url.py runs it",
    "serve": "serves until Ctrl-C; tests/analysis/serve/test_server.py runs it",
    "doctor": "differs from machine to machine",
}


class Block(NamedTuple):
    """A command on the page, and the lines it is said to print."""

    command: str
    lines: list[str]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def console(page: Path) -> list[Block]:
    found = [text.removeprefix("$ ").rstrip("\n").split("\n") for text in blocks(page, "console")]
    return [Block(command, lines) for command, *lines in found]


def is_run(command: str) -> bool:
    return shlex.split(command)[1] not in NOT_RUN


SHOWN = console(DOCS / "commands.md")
RUN = [block for block in SHOWN if is_run(block.command)]
ALERTS_PAGE = DOCS / "alerts.md"


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


def test_commands_are_click_commands():
    assert all(isinstance(command, click.Command) for command in main.commands.values())


# -- commands.md -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the page's commands one after the other in one directory, as the page says."""
    folder = tmp_path_factory.mktemp("docs")
    page = (DOCS / "commands.md").read_text()
    source, target = re.search(r"`cp -r /path/to/thermograd/(\S+) (\S+)`", page).groups()  # type: ignore[union-attr]
    shutil.copytree(ROOT / source, folder / target)
    return results_of(RUN, folder)


def results_of(run: list[Block], folder: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        patch.delenv("THERMOGRAD_RUNS", raising=False)
        patch.chdir(folder)
        return {
            block.command: CliRunner().invoke(main, shlex.split(block.command)[1:], prog_name="thermograd")
            for block in run
        }


def test_page_shows_every_command_and_its_output():
    shown = {name: block.lines for block in SHOWN for name in shlex.split(block.command)[1:2]}
    assert set(shown) == set(COMMANDS)
    assert all(shown.values())
    assert set(NOT_RUN) < set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=[block.command[:60] for block in RUN])
def test_command_on_the_page_prints_what_the_page_says(block, printed):
    """Lines must come in the page's order; numbers, names of runs and columns' widths may differ."""
    assert_printed(block, printed[block.command], _shape)


def assert_printed(block: Block, result: Any, shape: Callable[[str], str]) -> None:
    assert result.exit_code == 0, result.output
    told = iter([shape(line) for line in result.output.split("\n")])
    for line in block.lines:
        if line != "...":
            assert shape(line) in told, f"not printed, or not in this place: {line}"


def _shape(line: str) -> str:
    line = re.sub(r"\d{8}-\d{6}-[\w.-]+", "RUN", line)
    line = re.sub(r"[▁▂▃▄▅▆▇█]+", "CURVE", line)
    line = re.sub(r"[−+-]?\d+(\.\d+)?(e[+-]?\d+)?", "0", line)
    return re.sub(r"-{3,}|\s+", " ", line).strip()


def test_table_of_the_page_on_importing_is_imported_as_it_says(tmp_path):
    page = DOCS / "importing.md"
    (text,) = blocks(page, "csv")
    (tmp_path / "bench.csv").write_text(text)
    shown = [block for block in console(page) if " bench.csv " in block.command]
    assert len(shown) == 2
    printed = results_of(shown, tmp_path)
    for block in shown:
        assert_printed(block, printed[block.command], _shape)
    assert len(list((tmp_path / "runs").glob("*-bench-*"))) == 1  # the other was a trial


@pytest.mark.slow
def test_worked_example_of_the_page_on_experiments_prints_what_it_says(tmp_path):
    shown = [
        b for b in console(DOCS / "experiment.md") if shlex.split(b.command)[1] in ("simulate", "analyze")
    ]
    assert len(shown) == 2
    printed = results_of(shown, tmp_path)
    for block in shown:
        assert_printed(block, printed[block.command], _shape)


# -- alerts.md -------------------------------------------------------------------------------------


def test_page_says_of_every_alert_what_it_means_and_what_to_look_at():
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", ALERTS_PAGE.read_text(), re.MULTILINE)
    told = rows[: 2 * len(ALERTS)]
    means, advice = told[: len(ALERTS)], told[len(ALERTS) :]
    assert [name for name, _ in means] == list(ALERTS)
    assert advice == [(name, ADVICE[name]) for name in ALERTS]
    for _, text in means:
        assert set(text.partition(" | ")[0].split(" or ")) <= set(SEVERITIES)


def test_configuration_of_the_page_is_one_and_shows_as_the_page_says(tmp_path):
    (text,) = blocks(ALERTS_PAGE, "toml")
    (tmp_path / "thermograd.toml").write_text(text)
    assert {sink.type for sink in load_config(tmp_path / "thermograd.toml", {}).settings.sinks.values()} == {
        "jsonl",
        "webhook",
        "apprise",
    }
    shown = console(ALERTS_PAGE)
    for command, result in results_of(shown, tmp_path).items():
        (block,) = [block for block in shown if block.command == command]
        assert_printed(block, result, str)


# -- SQL and Python --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs with spikes and a collapse, and their analysis, for the recipes."""
    folder = tmp_path_factory.mktemp("recipes")
    for place in (1, 2):
        made = make_run(folder / "runs", 60, 30.0, [20, 40], name=f"run {place}", collapse_s=15.0, seed=place)
        log_accuracy(made)
    analyze_fleet(list_runs(folder / "runs"), write_to=folder / "runs")
    return folder


def log_accuracy(run: Run) -> None:
    """Add what a script would have logged of its own: an accuracy every ten steps, a learning rate."""
    writer = EventWriter(run.path, run.run_id, "own", ())
    writer.append("mark", mark="config", detail='{"learning_rate": 0.001}')
    for step in range(10, 61, 10):
        writer.append("metric", step=step, rank=0, name="accuracy", value=step / 100)
    writer.close()


RECIPES = blocks(DOCS / "recipes.md", "sql")


@pytest.mark.parametrize("sql", RECIPES, ids=[" ".join(sql.split())[:50] for sql in RECIPES])
def test_recipe_answers(sql, recorded):
    assert query(sql, recorded / "runs").num_rows > 0


def test_recipe_for_a_spike_finds_the_spike_and_the_device(recorded):
    first, around, *_ = RECIPES
    assert query(first, recorded / "runs").num_rows == 4
    happened = query(around, recorded / "runs").to_pylist()
    assert {"step", "sample", "alert"} <= {row["kind"] for row in happened}
    assert max(abs(row["dt_s"]) for row in happened) <= 5.0


@pytest.mark.parametrize("page", ["events.md", "recipes.md", "extending.md"])
def test_python_of_the_page_runs(page, recorded, monkeypatch):
    monkeypatch.chdir(recorded)
    space: dict[str, Any] = {}
    for text in blocks(DOCS / page, "python"):
        exec(compile(text, page, "exec"), space)
    assert space


@pytest.fixture(scope="module")
def extended(recorded: Path) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "extending"}
    with contextlib.chdir(recorded):
        for text in blocks(DOCS / "extending.md", "python"):
            exec(compile(text, "extending.md", "exec"), space)
    return space


def test_detector_of_the_page_does_what_its_example_says_and_finds_the_spikes(extended):
    example = doctest.DocTestFinder().find(extended["StepRise"], "StepRise", globs=extended)
    assert sum(doctest.DocTestRunner().run(each).failed for each in example) == 0
    assert [step for _, step in extended["flagged"]] == [20, 40, 20, 40]


def test_reader_of_the_page_has_the_interface_and_known_columns(extended):
    reader = extended["BoilerReader"]()
    methods = [name for name in vars(DeviceReader) if not name.startswith("_")]
    assert all(callable(getattr(reader, name)) for name in methods)
    (sample,) = reader.read()
    assert set(sample) <= {column.name for column in KINDS["sample"]}
    assert set(reader.describe()) == {sample["device"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("BOILER", "when,water [F]\n1750000000,141.8\n1750000001,nonsense\n1750000002,900\n"),
        ("KILN", '{"kiln": [[1750000000, 61.0], [1750000001, "hot"], [1750000002, []]]}'),
    ],
)
def test_importers_of_the_page_read_rows_and_count_what_they_leave_out(extended, tmp_path, name, content):
    path = tmp_path / "any.name"
    path.write_text(content)
    format: Format = extended[name]
    assert format.recognises(Head(path.read_bytes(), path.read_text()))
    (recording,) = format.read((path,), Hints())
    assert len(recording) == 1
    assert recording.account.read.total() == 3
    assert recording.account.left_out.total() == 2
    recording.account.require_balance()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/quick-start.md"])
def test_training_of_the_page_is_recorded(page, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch (extra train) is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    texts = [text for text in blocks(ROOT / page, "python") if "Trainer(" not in text]  # the reader's own
    assert texts
    for text in texts:
        exec(compile(text, page, "exec"), {})
    rows = query("SELECT loss, grad_norm, learning_rate FROM steps", tmp_path / "runs").to_pylist()
    assert len(rows) >= 3
    assert all(value is not None for row in rows for value in row.values())


@pytest.mark.slow
def test_training_of_the_readme_has_samples(tmp_path):
    """As a stranger runs it: in a process of its own, with the agent."""
    pytest.importorskip("torch", reason="torch (extra train) is not installed")
    (text,) = (text for text in blocks(ROOT / "README.md", "python") if "Trainer(" not in text)
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
    shown = CliRunner().invoke(main, ["--runs", str(tmp_path / "runs"), "show", "latest", "--json"])
    counts = json.loads(shown.stdout)
    assert counts["steps"] == 10
    assert counts["samples"] >= 2


# -- what the pages say ----------------------------------------------------------------------------


def test_the_zoo_on_the_page_is_the_zoo_and_every_process_is_drawn():
    """When this fails: ``python docs/zoo_page.py``."""
    text = (DOCS / "zoo.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([^`]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert sorted(row[:2] for row in told) == sorted((name, process.about) for name, process in ZOO.items())
    for name, _, fooled in told:
        assert ZOO[name].response not in (None, "once") or re.fullmatch(r"\d+ %", fooled)
    for group in {process.group for process in ZOO.values()}:
        drawn = (DOCS / "images" / f"zoo-{group.replace(' ', '-')}.svg").read_text(encoding="utf-8")
        titles = [html.unescape(title) for title in re.findall(r"<text[^>]*>([^<]+)</text>", drawn)]
        assert titles == [name for name, process in ZOO.items() if process.group == group]


def test_the_process_of_the_page_is_added_in_ten_lines_measured_and_simulated(tmp_path, monkeypatch):
    (code,) = blocks(DOCS / "zoo.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    before = dict(ZOO)
    for text in "".join(blocks(DOCS / "zoo.md", "sh")).splitlines():
        short = [*shlex.split(text.replace("--runs 200", "--runs 2"))[1:], "--minutes", "2"]
        try:
            result = CliRunner().invoke(main, short)
        finally:
            ZOO.clear()
            ZOO.update(before)
        assert result.exit_code == 0, result.output
        assert "hunting-fans" in result.stdout


def test_event_schema_of_the_page_is_the_schema():
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", (DOCS / "events.md").read_text(), re.MULTILINE)
    kinds = [column for columns in KINDS.values() for column in columns]
    assert told == [(column.name, column.type, column.meaning) for column in (*COMMON, *kinds)]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []
    if page.parent == DOCS and page.name != "README.md":
        assert f"({page.name})" in (DOCS / "README.md").read_text()


def test_commands_named_on_the_pages_exist():
    named = {name for page in PAGES for name in re.findall(r"\bthermograd ([a-z]+)\b", _code(page))}
    assert named - set(COMMANDS) <= {"thermograd"}


def _code(page: Path) -> str:
    text = page.read_text()
    fenced = [block for language in ("sh", "console") for block in blocks(page, language)]
    return os.linesep.join([*fenced, *re.findall(r"`(thermograd [^`]+)`", text)])


def test_the_page_of_public_names_is_what_the_packages_show():
    """When this fails: ``python docs/api_page.py``."""
    spec = importlib.util.spec_from_file_location("api_page", DOCS / "api_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page()
