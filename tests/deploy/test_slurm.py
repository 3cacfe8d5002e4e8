"""Prolog and epilog as slurmd calls them, with the real recorder: they wait for nothing and fail never."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from thermograd.store.runs.catalogue import list_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="slurmd with cgroups is Linux's")

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"


@pytest.fixture
def slurmd(tmp_path):
    """Return a function that calls a script as slurmd does: pipes, an own process group, few variables."""
    program = tmp_path / "thermograd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m thermograd.cli "$@"\n')
    program.chmod(0o755)
    settings = tmp_path / "agent.env"
    settings.write_text(
        f"THERMOGRAD_RUNS={tmp_path}/runs\nAGENT_PROGRAM={program}\nAGENT_USER=\nAGENT_OPTIONS='--hz 10'\n"
        f"THERMOGRAD_STATE={tmp_path}/state\nAWS_SECRET_ACCESS_KEY=the-secret\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "THERMOGRAD_AGENT_ENV": str(settings),
    }

    def call(script: str, job: str = "4711") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["/bin/sh", str(SLURM / script)],
            env=environment | {"SLURM_JOB_ID": job},
            capture_output=True,
            timeout=60,  # what kept the pipes open would keep slurmd waiting
            start_new_session=True,
        )

    yield call
    call("epilog.sh")


def wait_until(is_so):
    while not is_so():
        time.sleep(0.02)


def has_ended(process):
    """Return whether it has, also where nobody takes note of the end of an orphan."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_prolog_starts_a_recorder_and_epilog_ends_it_in_order(slurmd, tmp_path):
    started = slurmd("prolog.sh")
    assert (started.returncode, started.stdout, started.stderr) == (0, b"", b"")
    pid_file = tmp_path / "state" / "4711.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
    recorder = psutil.Process(int(pid_file.read_text()))
    wait_until(lambda: list_runs(tmp_path / "runs") and list((tmp_path / "runs").rglob("open/*/sample-*")))
    assert os.getsid(recorder.pid) == recorder.pid, "a time-out of slurmd's would end it"
    assert "the-secret" not in " ".join(recorder.cmdline())
    recorder_directory = recorder.cwd()
    assert slurmd("epilog.sh").returncode == 0
    wait_until(lambda: has_ended(recorder))
    wait_until(lambda: not list((tmp_path / "state").iterdir()))
    assert recorder_directory == "/"
    (run,) = list_runs(tmp_path / "runs")
    assert run.facts["name"] == "job-4711"
    assert run.state() == "finished"


@pytest.mark.parametrize("job", ["", "../../etc", "1; exit 3"])
def test_a_job_without_a_number_starts_nothing_and_drains_no_node(slurmd, tmp_path, job):
    for script in ("prolog.sh", "epilog.sh"):
        assert slurmd(script, job).returncode == 0
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("given", ["AGENT_DIRECTORY", "THERMOGRAD_STATE"])
def test_no_recorder_where_everybody_can_leave_a_configuration(slurmd, tmp_path, given):
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    with (tmp_path / "agent.env").open("a") as settings:
        settings.write(f"{given}={everybodys}\n")
    told = slurmd("prolog.sh")
    assert told.returncode == 0
    assert f"others may write to {everybodys}" in told.stderr.decode()
    assert not list(tmp_path.rglob("*.pid"))


def test_epilog_removes_what_a_recorder_left_that_ended_before(slurmd, tmp_path):
    (tmp_path / "state").mkdir()
    for name in ("4711.log", "4711.pid", "4712.log"):
        (tmp_path / "state" / name).write_text("")
    slurmd("epilog.sh")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["4712.log"]


def test_epilog_leaves_a_process_that_is_not_its_own(slurmd, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "4711.pid").write_text(f"{os.getpid()}\n")
    assert slurmd("epilog.sh").returncode == 0


def test_the_settings_of_the_example_are_those_that_the_scripts_read():
    text = (SLURM / "agent.env.example").read_text()
    named = {line.partition("=")[0] for line in text.splitlines() if line and not line.startswith("#")}
    scripts = (SLURM / "prolog.sh").read_text() + (SLURM / "epilog.sh").read_text()
    read = set(re.findall(r"\$\{?(AGENT_\w+)", scripts))
    assert {name for name in named if name.startswith("AGENT_")} <= read
