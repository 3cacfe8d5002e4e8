"""The walls of the house: who imports whom, what is public, and how light the doors are."""

import ast
import importlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from synthetic import make_run

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "ingest", "stream", "analysis", "commands")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py") if p.name != "sitecustomize.py")
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
    # A fleet's: each is an extra, and nobody who has one machine pays for them.
    "obstore",
    "ray",
    "distributed",
    "deltalake",
    "pyiceberg",
    "nats",
    "confluent_kafka",
}


# Each takes from a twentieth of a second to half a second to import.
PACKAGES_OF_SCIPY = {
    "fft",
    "integrate",
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "spatial",
    "special",
    "stats",
}


def test_the_walls_of_pyproject_hold():
    """Layers and no circles, imports inside functions included: import-linter's contracts.

    In a process of its own: import-linter's logging configuration switches off every logger that there is.
    """
    pytest.importorskip("importlinter")
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", script, "--no-cache", str(ROOT / "pyproject.toml")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_a_package_says_what_is_public():
    modules = [path for path in MODULES if path.name != "__init__.py"]
    assert len(modules) > 300
    assert [str(path) for path in modules if "\n__all__ =" in path.read_text()] == []


def test_a_room_has_about_a_dozen_modules():
    """The report's data and pages may have two more."""
    inside = Counter(path.parent.relative_to(ROOT) for path in MODULES if path.name != "__init__.py")
    most = {folder: 14 if folder.parts[:2] == ("analysis", "report") else 12 for folder in inside}
    assert {str(folder): n for folder, n in inside.items() if n > most[folder]} == {}


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
        "import thermograd.ingest.agent.agent, thermograd.ingest.devices.base\n"
        "import thermograd.stream.pipeline.live"
    )
    assert not loaded & {"torch", "transformers", "matplotlib", "altair"}


@pytest.mark.parametrize("command", ["analyze latest", "report latest --no-figures"])
def test_an_answer_about_one_run_loads_no_statistics_but_its_own(command, tmp_path):
    """Whole packages of scipy for a function of each took half of the time that a short run takes."""
    make_run(tmp_path, steps=300, seconds=300.0)
    loaded = loaded_by(
        "from thermograd.cli import main\n"
        f"main(['--runs', {str(tmp_path)!r}, *{command.split()!r}], standalone_mode=False)"
    )
    scipy = {name.split(".")[1] for name in loaded if name.startswith("scipy.")}
    assert scipy & PACKAGES_OF_SCIPY == {"linalg", "special", "fft"}
    assert not loaded & (HEAVY - {"numpy", "pyarrow", "scipy", "threadpoolctl"})
    assert "thermograd.analysis.run.experiment.experiment" not in loaded
    if command.startswith("analyze"):
        rooms = {".".join(name.split(".")[:3]) for name in loaded}
        assert not rooms & {f"thermograd.analysis.{room}" for room in ("comparison", "fleet", "calibration")}


def faces():
    files = [ROOT / "__init__.py", *(p for p in MODULES if p.name == "__init__.py")]
    shown = [p.parent.relative_to(ROOT).parts for p in files if ", __all__ = lazy(" in p.read_text()]
    return [".".join(["thermograd", *parts]) for parts in shown]


def public_to_type_checkers(package):
    tree = ast.parse(Path(package.__file__).read_text())
    return {a.asname for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}


@pytest.mark.parametrize("name", faces())
def test_the_names_of_a_face_exist_and_no_module_takes_their_place(name):
    package = importlib.import_module(name)
    modules = {path.stem for path in Path(package.__path__[0]).iterdir()}
    assert public_to_type_checkers(package) >= set(package.__all__)
    assert not modules & set(package.__all__)
    for public in package.__all__:
        value = getattr(package, public)
        assert public in dir(package)
        assert getattr(value, "__name__", public) == public
    with pytest.raises(AttributeError, match=f"public names: {', '.join(package.__all__)}"):
        _ = package.nonsense


def test_a_face_imports_nothing_before_it_is_asked():
    """All in one process: what any of them loads is there."""
    assert not loaded_by("\n".join(f"import {name}" for name in faces())) & HEAVY


def test_no_module_grows_beyond_a_readable_size():
    assert {str(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400} == {}
    assert len((ROOT / "cli.py").read_text().splitlines()) <= 400


DESIGN = [
    "thermograd:start_run",
    "thermograd.ingest.huggingface:ThermogradCallback",
    "thermograd.ingest.lightning:ThermogradCallback",
    "thermograd.store.query:connect",
    "thermograd.store.events:Event",
    "thermograd.store.errors:ThermogradError",
    "thermograd.stream.spike:SpikeDetector",
    "thermograd.stream.correlation:RollingCorrelation",
    "thermograd.stream.efficiency:Efficiency",
    "thermograd.stream.throttle:ThrottleDetector",
    "thermograd.stream.coupling:CouplingMonitor",
    "thermograd.analysis.align:nearest",
    "thermograd.analysis.coupling:residual_cross_correlation",
    "thermograd.analysis.coupling:session_swap",
]


def test_the_paths_that_scripts_rely_on_work_whatever_is_imported_first():
    """In one process that forgets our modules each time: what others make of them takes seconds to import."""
    code = "import sys\n"
    for path in DESIGN:
        module, _, name = path.partition(":")
        code += "for name in [name for name in sys.modules if name.split('.')[0] == 'thermograd']:\n"
        code += "    del sys.modules[name]\n"
        code += f"from {module} import {name}\n"
        if module.startswith("thermograd.analysis"):  # whose faces have the names of modules
            code += "import thermograd.analysis.run.analyze\n"
        code += f"assert callable({name}), {path!r}\n"
        code += f"from {module} import {name} as again\n"
        code += f"assert again is {name}, {path!r}\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
