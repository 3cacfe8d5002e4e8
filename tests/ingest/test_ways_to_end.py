"""The ways in which a training ends: what the shell sees, and what the run says of it.

Real processes, without torch. The table of docs/ends.md is this one.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import thermograd
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.ends import RunEnd

ABOVE = Path(thermograd.__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and exit codes of POSIX")

BEGIN = """
    import os, signal, sys, time
    import thermograd
    run = thermograd.start_run(agent=False)
    run.step(loss=1.0)
"""
WITH = """
    import os, signal, sys, time
    import thermograd
    with thermograd.start_run(agent=False) as run:
        run.step(loss=1.0)
"""
KILL = "os.kill(os.getpid(), signal.{})\ntime.sleep(60)"
UNKNOWN = "its process ended without closing its log: killed, out of memory, os._exit or a crash"
NO_CLOSE = "the script ended without close()"
CLOSES_ITSELF = "the script ended without close(); the run ends here"
BY_EXIT = f"{NO_CLOSE}, by SystemExit (thermograd run tells the exit code)"
CAUGHT = """
    import os, signal, time
    import thermograd
    try:
        with thermograd.start_run(agent=False) as run:
            run.step(loss=1.0)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
CHILD = """
    import multiprocessing, sys, thermograd
    def train():
        thermograd.start_run(agent=False).step(loss=1.0)
        {}
    if __name__ == "__main__":
        child = multiprocessing.get_context({!r}).Process(target=train)
        child.start()
        child.join()
"""

# what is run, exit code that the shell sees (negative: by that signal), state, exit code, reason
ALONE = {
    "close": (BEGIN, "run.close()", 0, "finished", 0, None),
    "with": (WITH, "    pass", 0, "finished", 0, None),
    "no close": (BEGIN, "", 0, "finished", 0, NO_CLOSE),
    "exception in with": (
        WITH,
        "    raise ValueError('boom')",
        1,
        "failed",
        1,
        "ValueError: boom (exit code 1)",
    ),
    "exception": (BEGIN, "1 / 0", 1, "failed", 1, "ZeroDivisionError: division by zero (exit code 1)"),
    "exception without text": (BEGIN, "raise OSError", 1, "failed", 1, "OSError (exit code 1)"),
    "close in finally": (
        BEGIN,
        "try: {}['a']\nfinally: run.close()",
        1,
        "failed",
        1,
        "KeyError: 'a' (exit code 1)",
    ),
    "exception, then exit": (
        BEGIN,
        "try: 1 / 0\nexcept ArithmeticError: sys.exit(4)",
        4,
        "failed",
        4,
        "ZeroDivisionError: division by zero (exit code 4)",
    ),
    "sys.exit(0)": (BEGIN, "sys.exit()", 0, "finished", 0, NO_CLOSE),
    "sys.exit(7)": (BEGIN, "sys.exit(7)", 7, "failed", 7, "exit code 7"),
    "exit(7)": (BEGIN, "exit(7)", 7, "failed", 7, "exit code 7"),
    "raise SystemExit(7)": (BEGIN, "raise SystemExit(7)", 7, "finished", None, BY_EXIT),
    "raise SystemExit(7) in with": (WITH, "    raise SystemExit(7)", 7, "failed", 7, "exit code 7"),
    "sys.exit(text)": (BEGIN, "sys.exit('no data')", 1, "failed", 1, "no data (exit code 1)"),
    "sys.exit, caught": (BEGIN, "try: sys.exit(7)\nexcept SystemExit: pass", 0, "finished", 0, NO_CLOSE),
    "exit after close": (
        BEGIN,
        "run.close()\nsys.exit(7)",
        7,
        "failed",
        7,
        "after the run was closed (exit code 7)",
    ),
    "Ctrl-C": (
        BEGIN,
        KILL.format("SIGINT"),
        -signal.SIGINT,
        "interrupted",
        130,
        "KeyboardInterrupt (exit code 130)",
    ),
    "Ctrl-C in with": (
        WITH,
        textwrap.indent(KILL.format("SIGINT"), "    "),
        -signal.SIGINT,
        "interrupted",
        130,
        "KeyboardInterrupt (exit code 130)",
    ),
    "Ctrl-C, caught": (CAUGHT, "", 0, "interrupted", 0, "KeyboardInterrupt (exit code 0)"),
    "SIGTERM": (BEGIN, KILL.format("SIGTERM"), -signal.SIGTERM, "crashed", None, UNKNOWN),
    "SIGTERM, handled by exit": (
        BEGIN,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + KILL.format("SIGTERM"),
        143,
        "interrupted",
        143,
        "SIGTERM (exit code 143)",
    ),
    "SIGTERM, handled by raise": (
        BEGIN,
        "def stop(number, frame): raise RuntimeError('preempted')\n"
        "signal.signal(signal.SIGTERM, stop)\n" + KILL.format("SIGTERM"),
        1,
        "interrupted",
        1,
        "RuntimeError: preempted (exit code 1)",
    ),
    "SIGKILL": (BEGIN, KILL.format("SIGKILL"), -signal.SIGKILL, "crashed", None, UNKNOWN),
    "os._exit(3)": (BEGIN, "os._exit(3)", 3, "crashed", None, UNKNOWN),
    "abort": (BEGIN, "os.abort()", -signal.SIGABRT, "crashed", None, UNKNOWN),
    "exception in a thread": (
        BEGIN,
        "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()",
        0,
        "finished",
        0,
        NO_CLOSE,
    ),
    "child forked, exception": (
        CHILD.format("raise ValueError('boom')", "fork"),
        "",
        0,
        "failed",
        None,
        "ValueError: boom",
    ),
    "child spawned, exit code": (CHILD.format("sys.exit(5)", "spawn"), "", 0, "failed", 5, "exit code 5"),
    "child forked, done": (CHILD.format("", "fork"), "", 0, "finished", None, NO_CLOSE),
}
LAUNCHED = {
    "with": (WITH, "    pass", 0, "finished", 0, None),
    "exception": (BEGIN, "1 / 0", 1, "failed", 1, "ZeroDivisionError: division by zero (exit code 1)"),
    "sys.exit(7)": (BEGIN, "sys.exit(7)", 7, "failed", 7, "exit code 7"),
    "raise SystemExit(7)": (BEGIN, "raise SystemExit(7)", 7, "failed", 7, "exit code 7"),
    "exit after close": (
        BEGIN,
        "run.close()\nsys.exit(7)",
        7,
        "failed",
        7,
        "after the run was closed (exit code 7)",
    ),
    "Ctrl-C": (BEGIN, KILL.format("SIGINT"), 130, "interrupted", 130, "KeyboardInterrupt (exit code 130)"),
    "SIGTERM": (BEGIN, KILL.format("SIGTERM"), 143, "interrupted", 143, "SIGTERM (exit code 143)"),
    "SIGKILL": (
        BEGIN,
        KILL.format("SIGKILL"),
        137,
        "crashed",
        137,
        "SIGKILL, perhaps for want of memory (exit code 137)",
    ),
    "segmentation fault": (
        BEGIN,
        "import ctypes\nctypes.string_at(0)",
        139,
        "crashed",
        139,
        "SIGSEGV (exit code 139)",
    ),
    "os._exit(3)": (
        BEGIN,
        "os._exit(3)",
        3,
        "crashed",
        3,
        "its process ended without closing its log (exit code 3)",
    ),
}


def script(tmp_path, begin, end):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(begin) + end + "\n")
    return str(path)


def run_it(tmp_path, command, **environment):
    environment |= {"THERMOGRAD_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ABOVE)}
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


def ended(tmp_path, command):
    """Run a command; return its exit code, its stderr, and the only run that it left."""
    done = run_it(tmp_path, command)
    [run] = list_runs(tmp_path / "runs")
    return done.returncode, done.stderr, run


def divided(told):
    """Return what we said of the end, and what others said."""
    lines = [line for line in told.splitlines() if not line.startswith("thermograd: recording to")]
    ours = [line for line in lines if line.startswith("thermograd: ")]
    return ours, [line for line in lines if line not in ours]


def launched(*command):
    return [sys.executable, "-m", "thermograd.cli", "run", "--", *command]


@pytest.mark.parametrize("way", ALONE)
def test_a_run_tells_how_its_process_ended(tmp_path, way):
    begin, end, seen, state, code, reason = ALONE[way]
    command = [sys.executable, script(tmp_path, begin, end)]
    plain = run_it(tmp_path, command, THERMOGRAD_DISABLED="1")
    returned, told, run = ended(tmp_path, command)
    found = run.end()
    assert (returned, found.state, found.exit_code, found.reason) == (seen, state, code, reason)
    assert returned == plain.returncode
    ours, others = divided(told)
    assert others == plain.stderr.splitlines()  # the same traceback, and nothing of ours in it
    assert ours == [f"thermograd: {sentence}" for sentence in [CLOSES_ITSELF] * (NO_CLOSE in (reason or ""))]
    assert read_kind(run.path, "step")["loss"].to_pylist() == [1.0]


def told_by_the_launcher(place, way):
    """Launch a script in a place of its own; return what the shell sees and what the run says of its end."""
    begin, end, *_ = LAUNCHED[way]
    place.mkdir()
    returned, told, run = ended(place, launched(sys.executable, script(place, begin, end)))
    assert f"thermograd: recorded as {run.run_id}" in told
    [mark] = [mark for mark in read_kind(run.path, "mark").to_pylist() if mark["mark"] == "command_ended"]
    assert f'"exit_code": {returned}' in mark["detail"]
    found = run.end()
    return returned, found.state, found.exit_code, found.reason


@pytest.mark.slow
def test_the_launcher_tells_what_the_process_could_not(tmp_path):
    places = [tmp_path / f"way {number}" for number in range(len(LAUNCHED))]
    with ThreadPoolExecutor(4) as pool:  # a launch is waited for, most of the time
        found = dict(zip(LAUNCHED, pool.map(told_by_the_launcher, places, LAUNCHED), strict=True))
    assert found == {way: tuple(expected) for way, (_, _, *expected) in LAUNCHED.items()}


@pytest.mark.slow
def test_a_shell_around_the_script_has_the_last_word(tmp_path):
    path = script(tmp_path, WITH, "    pass")
    returned, _, run = ended(tmp_path, launched("sh", "-c", f"{sys.executable} {path}; exit 7"))
    assert (returned, run.end().state, run.end().exit_code) == (7, "failed", 7)


HOOKED = """
    import sys, thermograd
    def mine(kind, error, trace): print("mine:", error, file=sys.stderr)
    {}
    thermograd.start_run(agent=False)
    {}
    raise ValueError("boom")
"""


@pytest.mark.parametrize("place", [0, 1], ids=["set before the run", "set after it"])
def test_a_hook_for_exceptions_of_the_scripts_own_stays_in_its_place(tmp_path, place):
    lines = ["sys.excepthook = mine" if place == n else "pass" for n in (0, 1)]
    returned, told, run = ended(tmp_path, [sys.executable, script(tmp_path, HOOKED.format(*lines), "")])
    assert (returned, divided(told)) == (1, ([], ["mine: boom"]))
    assert run.end().reason == "ValueError: boom (exit code 1)"


def test_runs_that_one_process_records_one_after_the_other_keep_their_own_ends(tmp_path):
    text = """
        import thermograd
        for number in range(3):
            try:
                with thermograd.start_run(f"run {number}", agent=False):
                    if number == 1:
                        raise ValueError("of the second")
            except ValueError:
                with thermograd.start_run("in its stead", agent=False):
                    pass
        raise OSError("of the script")
    """
    run_it(tmp_path, [sys.executable, script(tmp_path, text, "")])
    ends = {run.name: (run.end().state, run.end().exit_code) for run in list_runs(tmp_path / "runs")}
    assert ends == {
        "run 0": ("finished", None),
        "run 1": ("failed", None),
        "in its stead": ("finished", None),
        "run 2": ("failed", 1),
    }


def test_a_forked_child_says_nothing_of_its_parents_run(tmp_path):
    text = """
        import os, sys, thermograd
        run = thermograd.start_run(agent=False)
        run.close()
        if os.fork() == 0:
            sys.exit(5)
        os.wait()
        os._exit(0)
    """
    _, _, run = ended(tmp_path, [sys.executable, script(tmp_path, text, "")])
    assert run.end() == RunEnd("finished")


HOSTILE = ["'<script>alert(1)</script>'", "'a\\nb\\x1b[31m\\0'", "'x' * 1_000_000", "'\\ud800'", "Text()"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_of_strangers_is_one_short_line_without_control_characters(tmp_path, text):
    begin = BEGIN + "    class Text:\n        def __str__(self): raise ValueError\n"
    _, _, run = ended(tmp_path, [sys.executable, script(tmp_path, begin, f"raise RuntimeError({text})")])
    reason = run.end().reason
    assert reason.startswith("RuntimeError")
    assert reason.isprintable()
    assert len(reason) <= 300
    assert max(path.stat().st_size for path in (run.path / "writers").iterdir()) < 4096
    assert re.fullmatch(r"RuntimeError.*", reason)


def wait_for(condition):
    end = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def test_sigterm_to_the_whole_job_as_a_scheduler_sends_it_is_no_crash(tmp_path):
    text = """
        import thermograd, time
        run = thermograd.start_run()
        run.step(loss=1.0)
        while not list((run.path / "open").glob("*agent*/sample-*")):
            time.sleep(0.05)
        print(run.agent.pid, flush=True)
        time.sleep(60)
    """
    environment = {"THERMOGRAD_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ABOVE)}
    command = [sys.executable, script(tmp_path, text, "")]
    training = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    with training:
        agent = int(training.stdout.readline())
        for pid in (training.pid, agent):
            os.kill(pid, signal.SIGTERM)
    [run] = list_runs(tmp_path / "runs")
    wait_for(lambda: not run.live_writers())
    assert run.end() == RunEnd("interrupted", "SIGTERM ended its processes")
