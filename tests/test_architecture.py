"""The walls of the house: who imports whom, what is public, and how light the doors are."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "ingest", "stream", "analysis")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py") if p.name != "sitecustomize.py")
ALLOWED = {
    "store": {"store"},
    "ingest": {"store", "ingest"},
    "stream": {"store.events", "store.errors", "store.efficiency", "store.plain_text", "stream"},
    "analysis": {"store", "analysis"},
}
HEAVY = {
    "numpy",
    "pyarrow",
    "duckdb",
    "torch",
    "transformers",
    "altair",
    "matplotlib",
    "pandas",
    "river",
    "scipy",
    "threadpoolctl",
}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_from_the_rooms_below_it(path):
    for name in imports_of(path):
        if name.startswith("thermograd."):
            inner = name.removeprefix("thermograd.")
            allowed = ALLOWED[path.relative_to(ROOT).parts[0]]
            assert any(inner == a or inner.startswith(f"{a}.") for a in allowed) or inner in ROOMS, name
            assert not inner.startswith("cli")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_all_names_exactly_what_exists(path):
    tree = ast.parse(path.read_text())
    names = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    if path.name == "__init__.py":
        return
    assert names, "a module says what of it is public"
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {t.id for t in targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    assert set(names[0]) <= defined
    assert len(names[0]) == len(set(names[0]))


@pytest.mark.parametrize("path", sorted((ROOT / "analysis").glob("*.py")), ids=lambda p: p.name)
def test_statistics_know_nothing_of_how_they_are_shown(path):
    body = ast.parse(path.read_text()).body
    names = [node.module for node in body if isinstance(node, ast.ImportFrom) and node.module]
    assert not [name for name in names if name.startswith("thermograd.analysis.report")]


def loaded_by(code):
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import thermograd",
        "import thermograd.store.events, thermograd.store.errors",
        "import contextlib, io, thermograd.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    thermograd.cli.main(['--help'], standalone_mode=False)",
    ],
    ids=["import thermograd", "events", "--help"],
)
def test_the_doors_are_light(code):
    assert not loaded_by(code) & HEAVY


def test_the_agent_never_loads_torch():
    loaded = loaded_by(
        "import thermograd.ingest.agent.agent, thermograd.ingest.devices.base, thermograd.stream.pipeline.live"
    )
    assert not loaded & {"torch", "transformers", "matplotlib", "altair"}


def test_the_public_names_of_the_package_exist():
    package = importlib.import_module("thermograd")
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="public names: Run, __version__, start_run"):
        _ = package.nonsense


def test_no_module_grows_beyond_a_readable_size():
    assert {str(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400} == {}
