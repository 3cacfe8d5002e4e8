"""What is installed is what is in the rooms: every module and every data file, and nothing else."""

import email
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("store", "ingest", "stream", "analysis", "commands")
DOOR = ("__init__.py", "cli.py", "py.typed")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ROOMS
    for path in (ROOT / room).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
PRINTED = ("deploy/grafana/thermograd.json", "deploy/prometheus/thermograd-rules.yaml")
REPORT = ("matplotlib", "tsdownsample", "vl_convert")


def test_every_folder_with_an_init_is_a_package_in_pyproject():
    """The root is the package, so setuptools cannot be told to look for packages by itself."""
    folders = {Path(name).parent for name in FILES if name.endswith("/__init__.py")}
    assert PYPROJECT["tool"]["setuptools"]["packages"] == [
        "thermograd",
        *sorted("thermograd." + ".".join(folder.parts) for folder in folders),
    ]


def test_every_module_is_in_a_package():
    """A folder without __init__ is in no wheel; the launcher's is no package, but data of one."""
    folders = {Path(name).parent for name in FILES if name.endswith(".py")}
    assert {folder.name for folder in folders if not (ROOT / folder / "__init__.py").exists()} == {
        "bootstrap"
    }


def test_every_extra_and_tool_is_pinned():
    """`make` installs with constraints.txt; what is not in it would be another version tomorrow."""
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for extra in ("train", "report", "lightning", "import", "alerts"):
        wanted += project["optional-dependencies"][extra]
    names = {_name(requirement) for requirement in wanted}
    assert names - {_normal(name) for name in pinned} == {"thermograd"}


def _name(requirement: str) -> str:
    return _normal(requirement.partition(";")[0].partition("[")[0].partition(">")[0].strip())


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


# -- the wheel, built without network and used outside the checkout ------------------------------------


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("THERMOGRAD_", "PYTHONPATH"))}
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, as a build writes into the folder that it builds."""
    for tool in ("setuptools", "pip"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"{tool} (extra dev) is not installed, and building must not need a network")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than 77: it builds no such project")
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "checkout", ignore=_left_out)
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run("-c", build, folder, cwd=folder / "checkout")
    (archive,) = folder.glob("*.tar.gz")
    return archive


def _left_out(folder: str, names: list[str]) -> set[str]:
    made = {"build", "dist", "runs"} if Path(folder) == ROOT else set()
    return {
        name for name in names if name.startswith(".") or name == "__pycache__" or ".egg-info" in name
    } | made


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Build from the source distribution, as `python -m build` does: it must lack nothing."""
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run("-m", "pip", "wheel", *offline, "--wheel-dir", sdist.parent, sdist, cwd=sdist.parent)
    (archive,) = sdist.parent.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    target = wheel.parent / "installed"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run("-m", "pip", "install", *offline, "--target", target, wheel, cwd=wheel.parent)
    return target


@pytest.mark.slow
def test_source_distribution_holds_what_the_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*DOOR, *FILES, "Makefile", "constraints.txt", "CONTRIBUTING.md", "CHANGELOG.md"} <= names
    for folder in ("tests", "docs", "benchmarks", "deploy"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {name for name in files if "__pycache__" not in name} <= names
    assert not {name for name in names if "__pycache__" in name}


@pytest.mark.slow
def test_wheel_holds_every_module_and_data_file_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    contents = {name for name in names if ".dist-info/" not in name}
    assert contents == {f"thermograd/{name}" for name in (*DOOR, *FILES, *PRINTED)}
    assert any(name.endswith("/bootstrap/sitecustomize.py") for name in contents)
    assert any(name.endswith("/templates/page.html") for name in contents)
    assert any(name.endswith("/templates/run.md") for name in contents)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_base_needs_neither_torch_nor_plotting(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    base = {_name(line) for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert base == {_name(requirement) for requirement in PYPROJECT["project"]["dependencies"]}
    assert not base & {"torch", "transformers", *REPORT}


@pytest.mark.slow
def test_installed_wheel_simulates_analyses_reports_and_launches(installed, tmp_path):
    """Outside the checkout, from the wheel's files alone: what is not shipped would fail here."""

    def thermograd(*words: str) -> str:
        return run("-m", "thermograd.cli", *words, cwd=tmp_path, PYTHONPATH=str(installed))

    where = run(
        "-c", "import thermograd; print(thermograd.__file__)", cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert Path(where.strip()).resolve().is_relative_to(installed.resolve())
    assert "Usage: " in thermograd("--help")
    assert '"uid": "thermograd"' in thermograd("config", "grafana")
    thermograd("simulate", "--coupling", "0.8", "--minutes", "3", "--seed", "1")
    assert "\n1\n" in thermograd("query", "SELECT count(*) AS n FROM runs", "--format", "csv")
    launched = thermograd("run", "--", sys.executable, "-c", "print('trained')")
    assert "no torch was seen" in launched, "the sitecustomize of the wheel was not loaded"
    if all(importlib.util.find_spec(name) for name in REPORT):
        thermograd("report", "latest", "-o", "shown")
        page = (tmp_path / "shown" / "report.html").read_text(encoding="utf-8")
        assert "<html" in page
    else:
        assert "lag" in thermograd("analyze", "latest")
