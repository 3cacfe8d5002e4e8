"""`thermograd run`: unmodified commands, recorded, with nothing between them and their caller."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest
from thermograd.ingest.launch.launcher import launch
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.ends import RunEnd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and exit codes of POSIX")

TRAIN = """
    import importlib.util, sys
    assert importlib.util.find_spec("torch")      # merely looking is not importing
    import torch
    from torch.nn.utils import clip_grad_norm_
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (model(torch.randn(4, 8)) ** 2).mean()
            loss.backward()
            norm = clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            print(loss.item(), norm.item(), flush=True)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that launches a command here and gives back (exit code, what was said)."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("thermograd.ingest.launch.launcher._HELLO_S", 600.0)  # a busy machine is no silence

    def run(*command, name=None):
        said = []
        code = launch(tmp_path / "runs", name, 5.0, command, said.append)
        return code, said

    return run


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(TRAIN) + textwrap.dedent(text))
        return str(path)

    return write


def steps_and_marks(tmp_path):
    [run] = list_runs(tmp_path / "runs")
    return read_kind(run.path, "step").to_pylist(), read_kind(run.path, "mark").to_pylist(), run


@pytest.mark.slow
def test_an_unmodified_script_is_recorded_and_notices_nothing(start, script, tmp_path, capfd):
    path = script("train(4); print('to stderr', file=sys.stderr); sys.exit(3)")
    code, said = start(sys.executable, path)
    shown = capfd.readouterr()
    printed = [tuple(map(float, line.split())) for line in shown.out.splitlines()]
    steps, marks, run = steps_and_marks(tmp_path)
    assert code == 3
    assert "to stderr" in shown.err
    assert len(printed) == 4
    assert [(s["loss"], s["grad_norm"]) for s in steps] == printed
    assert {s["max_grad_norm"] for s in steps} == {0.5}
    assert run.name == "script"
    assert run.end() == RunEnd("failed", "exit code 3", 3)
    assert said == [f"recorded as {run.run_id}"]
    assert {m["mark"] for m in marks} >= {"run_started", "run_ended"}


@pytest.mark.slow
def test_a_script_that_starts_a_run_shares_it_and_an_error_is_marked(start, script, tmp_path):
    path = script("""
        train(1)
        import thermograd
        run = thermograd.start_run("its own")
        run.mark("note", text="by hand")
        train(2)
        raise KeyError("lost")
    """)
    code, said = start(sys.executable, path)
    steps, marks, run = steps_and_marks(tmp_path)
    assert code == 1
    assert [s["step"] for s in steps] == [1, 2, 3]
    assert "by hand" in [m["text"] for m in marks]
    assert [m["text"] for m in marks if m["mark"] == "error"] == ["KeyError: 'lost'"]
    assert said == [f"recorded as {run.run_id}"]


@pytest.mark.slow
def test_steps_are_in_the_log_when_the_optimizer_has_stepped(start, script, tmp_path):
    """The first also: a copy made after it is what a kill would have left."""
    path = script("""
        import os, shutil
        train(1)
        half_written = shutil.ignore_patterns(".*.tmp")  # the agent's: gone when they are to be copied
        shutil.copytree(os.environ["THERMOGRAD_RUNS"], "at_step_1", ignore=half_written)
        train(1)
        os._exit(3)
    """)
    with contextlib.chdir(tmp_path):
        code, _ = start(sys.executable, path)
    steps, _, run = steps_and_marks(tmp_path)
    assert code == 3
    assert [s["step"] for s in steps] == [1, 2]
    assert run.end().exit_code == 3
    [copy] = list_runs(tmp_path / "at_step_1")
    assert [s["step"] for s in read_kind(copy.path, "step").to_pylist()] == [1]


def test_a_script_that_logs_by_hand_is_not_counted_twice(start, script, tmp_path):
    path = script("""
        import thermograd
        with thermograd.start_run("its own", agent=False) as run:
            for i in range(3):
                train(1)
                run.step(loss=7.0, tokens=i)
    """)
    assert start(sys.executable, path)[0] == 0
    steps, _, run = steps_and_marks(tmp_path)
    assert [(s["step"], s["loss"], s["tokens"]) for s in steps] == [(1, 7.0, 0), (2, 7.0, 1), (3, 7.0, 2)]
    assert run.name == "its own"


def test_a_run_that_the_script_starts_before_it_imports_torch_is_the_one_that_is_recorded(
    start, script, tmp_path
):
    path = script("train(3)")
    text = Path(path).read_text()
    Path(path).write_text(f"import thermograd\nown = thermograd.start_run('its own', agent=False)\n{text}")
    assert start(sys.executable, path)[0] == 0
    steps, _, run = steps_and_marks(tmp_path)
    assert (len(steps), run.name) == (3, "its own")


@pytest.mark.parametrize(("given", "name"), [("tr", "tr"), (None, "its own")])
def test_a_name_that_the_launcher_is_given_comes_before_that_of_the_script(start, tmp_path, given, name):
    code = "import thermograd\nfor n in ('its own', 'second'): thermograd.start_run(n, agent=False).close()"
    assert start(sys.executable, "-c", code, name=given)[0] == 0
    assert [run.name for run in list_runs(tmp_path / "runs")] == [name, "second"]


@pytest.mark.slow
def test_torchrun_gives_one_run_and_a_file_a_rank(start, script, tmp_path):
    path = script("""
        import os, torch.distributed as dist
        dist.init_process_group("gloo")
        train(2)
        dist.destroy_process_group()
    """)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", path]
    code, said = start(sys.executable, *command, name="both ranks")
    steps, _, run = steps_and_marks(tmp_path)
    assert code == 0
    assert sorted((s["rank"], s["step"]) for s in steps) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert run.facts["job"]["world_size"] == 2
    assert sorted(w["role"] for w in run.writers()) == ["agent", "launcher", "training", "training"]
    assert said == [f"recorded as {run.run_id}"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["-I", "-c", "pass"], "Python with -I ignores what would load the instrument"),
        (["-uES", "-c", "pass"], "Python with -E and -S ignores"),
        (["-c", "-I"], "no torch was seen"),
        (["-c", "import thermograd"], "no torch was seen in the Python processes"),
        (["-c", "import torch"], "torch was imported, but there was no backward pass"),
    ],
)
def test_python_that_was_not_recorded_says_why(start, tmp_path, flags, sentence):
    code, [said] = start(sys.executable, *flags)
    assert code == (1 if flags == ["-c", "-I"] else 0)
    assert sentence in said
    assert not (tmp_path / "runs").exists()


def test_a_command_that_is_no_python_says_so(start):
    assert start("sh", "-c", "exit 5") == (
        5,
        ["not instrumented: 'sh' started no Python that could be reached"],
    )


def test_python_below_a_shell_script_is_reached(start):
    code, said = start("sh", "-c", f"{sys.executable} -c pass")
    assert (code, said) == (0, ["nothing recorded: no torch was seen in the Python processes of the command"])


@pytest.mark.usefixtures("start")
def test_a_python_that_does_not_answer_is_said_early(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.launch.launcher._HELLO_S", 0.05)
    said, sign = [], tmp_path / "said"
    code = "import os, sys, time\nend = time.monotonic() + 60\n"
    code += "while time.monotonic() < end and not os.path.exists(sys.argv[1]): time.sleep(0.01)"
    command = [sys.executable, "-I", "-c", code, str(sign)]
    launch(tmp_path / "runs", None, 5.0, command, lambda text: (said.append(text), sign.touch()))
    assert len(said) == 2
    assert said[0] == said[1]


def test_a_python_without_thermograd_says_where_to_install_it(start, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "thermograd.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, [said] = start(sys.executable, "-c", "import torch")
    assert code == 0
    assert said.startswith(f"not instrumented: {sys.executable}: ImportError: not here")
    assert said.endswith("install thermograd for that Python")


def test_a_sitecustomize_of_the_users_is_loaded_too(start, tmp_path, monkeypatch, capfd):
    (tmp_path / "sitecustomize.py").write_text("marker = 'mine'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start(sys.executable, "-c", "import sitecustomize; print(sitecustomize.marker)")
    assert capfd.readouterr().out == "mine\n"


def test_recording_that_is_turned_off_is_said(start, tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    assert start(sys.executable, "-c", "pass") == (0, ["not instrumented: THERMOGRAD_DISABLED is set"])


def test_a_command_that_cannot_be_started_has_the_shells_exit_codes(start, tmp_path):
    code, [said] = start("no-such-program-here")
    assert (code, said) == (
        127,
        "'no-such-program-here' was not found: give a program on the PATH, or a path to one",
    )
    (tmp_path / "plain").write_text("")
    code, [said] = start(str(tmp_path / "plain"))
    assert (code, said) == (126, f"'{tmp_path / 'plain'}' could not be started: Permission denied")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_a_signal_ends_has_the_shells_exit_code(start, number):
    assert start("sh", "-c", f"kill -{int(number)} $$")[0] == 128 + number


COUNT = """
import signal, time, sys
got = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda n, f: got.append(n))
print("ready", flush=True)
end = time.monotonic() + 60
while not got and time.monotonic() < end:
    time.sleep(0.02)
time.sleep(0.3)
print(len(got), flush=True)
sys.exit(got[0] if got else 99)
"""


def launcher(tmp_path, command, **options):
    arguments = [
        sys.executable,
        "-m",
        "thermograd.cli",
        "--runs",
        str(tmp_path / "runs"),
        "run",
        "--",
        *command,
    ]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_launcher_reaches_the_command_once(tmp_path, number):
    process = launcher(tmp_path, [sys.executable, "-c", COUNT])
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.read() == "1\n"
    assert process.wait(60) == number
    process.stdout.close()


def test_ctrl_c_in_a_terminal_reaches_the_command_once(tmp_path):
    master, slave = os.openpty()

    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = launcher(tmp_path, [sys.executable, "-c", COUNT], stdin=slave, preexec_fn=own_terminal)
    assert process.stdout.readline() == "ready\n"
    os.write(master, b"\x03")
    assert process.stdout.read() == "1\n"
    assert process.wait(60) == signal.SIGINT
    process.stdout.close()
    os.close(master)
    os.close(slave)


def test_the_command_reads_the_launchers_stdin_and_its_own_options(tmp_path):
    code = "import sys; print(sys.stdin.read(), sys.argv[1:])"
    process = launcher(tmp_path, [sys.executable, "-c", code, "--hz", "3", "--help"], stdin=subprocess.PIPE)
    assert process.communicate("line")[0] == "line ['--hz', '3', '--help']\n"
    assert process.returncode == 0


def test_the_hook_alone_costs_little_and_loads_nothing(tmp_path):
    from thermograd.ingest.launch import launcher as module

    environment = os.environ | {
        "PYTHONPATH": str(module._BOOTSTRAP),
        "THERMOGRAD_AUTORUN": json.dumps({"name": "x", "hz": 5, "hello": str(tmp_path)}),
    }
    code = (
        "import sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'thermograd', 'numpy', 'torch'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("module", ["commands.agent", "store.log.following.sealing"])
def test_our_own_processes_are_no_part_of_the_command(module, tmp_path):
    from thermograd.ingest.launch import launcher as launching

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(launching._BOOTSTRAP), os.environ.get("PYTHONPATH", "")]),
        "THERMOGRAD_AUTORUN": json.dumps({"name": "x", "hz": 5, "hello": str(tmp_path)}),
    }
    command = [sys.executable, "-P", "-m", f"thermograd.{module}", "no-such-command"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode
    assert not list(tmp_path.iterdir())
