"""Stopping a query: at every moment, also where DuckDB does not listen, and nothing goes on without us.

Each test starts the command in a process of its own and waits for a sign that it is where it should be. The
queries would last for minutes; that the process ends at all within the wait is the assertion.
"""

import contextlib
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import QueryError
from thermograd.store.query.connection import query
from thermograd.store.query.sandbox import Limits, answer

JOIN = "SELECT count(*) FROM range(99999) a, range(99999) b, range(99999) c WHERE a.range < b.range + c.range"
DEAF = "SELECT length(repeat('x', 4000000000))"  # one call of a function, which heeds no interrupt
WAIT_S = 120

# Says "here" when the command reaches a function, and with which process as its first argument. Its time is
# up no sooner: a busy machine takes long to get there. SIGINT as in a terminal, whatever started the tests.
COMMAND = textwrap.dedent(
    """
    import importlib, signal, sys, threading
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place, *arguments = sys.argv[1:]
    module_name, name = place.split(":")
    module = importlib.import_module(module_name)
    original, reached = getattr(module, name), threading.Event()
    def with_sign(*arguments, **options):
        of = getattr(arguments[0], "pid", 0) if arguments else 0
        sys.stderr.write(f"here {of}\\n")
        sys.stderr.flush()
        reached.set()
        return original(*arguments, **options)
    setattr(module, name, with_sign)
    from thermograd.store.query import interrupt, sandbox
    def not_before(act):
        return lambda *arguments: reached.wait() and act(*arguments)
    interrupt._end, sandbox._end = not_before(interrupt._end), not_before(sandbox._end)
    from thermograd.cli import main
    main(arguments)
    """
)
STARTING = "subprocess:Popen"
ASKING = "thermograd.store.query.sandbox:_send"
HERE = "thermograd.store.query.here:named_views"
IN_A_CHILD = ("--memory", "1000")  # GB: a limit, but none that is reached
PRINTING = "thermograd.commands.query:write_out"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts `query` and waits until it has reached a place; all are killed."""
    processes = []

    def run(place, *arguments):
        command = [sys.executable, "-c", COMMAND, place, "--runs", str(tmp_path / "runs"), "query"]
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        never_there = threading.Timer(WAIT_S, process.kill)
        never_there.start()
        try:
            sign = process.stderr.readline()
            assert sign.startswith("here "), sign + process.stderr.read()
            process.asked = int(sign.split()[1])
        finally:
            never_there.cancel()
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def child_of(process):
    """Wait for the process that answers, and return it."""
    children = psutil.Process(process.pid).children
    while not (found := children()):
        assert process.poll() is None
    return found[0]


def work(child, seconds):
    """Wait until a process has used so much processor time from now on."""
    begun = sum(child.cpu_times()[:2])
    while sum(child.cpu_times()[:2]) < begun + seconds:
        assert child.status() != psutil.STATUS_ZOMBIE, "it has ended by itself"
        time.sleep(0.02)


def end(process):
    process.wait(WAIT_S)
    return process.returncode, re.sub(r"here \d+\n", "", process.stderr.read())  # it may be reached again


def has_ended(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.wait_procs([psutil.Process(pid)], WAIT_S)[1] == []
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
class TestCtrlC:
    @pytest.mark.parametrize(("place", "options"), [(STARTING, IN_A_CHILD), (ASKING, IN_A_CHILD), (HERE, ())])
    def test_ends_the_process_wherever_it_is_as_a_shell_expects(self, start, place, options):
        process = start(place, JOIN, *options)
        process.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")

    @pytest.mark.parametrize("sql", [JOIN, DEAF])
    def test_ends_a_query_that_runs(self, start, sql):
        process = start(ASKING, sql, *IN_A_CHILD)
        child = child_of(process)
        work(child, 1)
        process.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")
        assert psutil.wait_procs([child], WAIT_S)[1] == []

    @pytest.mark.parametrize("sql", [JOIN, DEAF])
    def test_ends_a_query_that_runs_in_the_process_of_the_command(self, start, sql):
        process = start(HERE, sql)
        work(psutil.Process(process.pid), 1)
        process.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")

    def test_ends_printing_to_a_reader_that_does_not_read(self, start):
        process = start(PRINTING, "SELECT * FROM range(200000)", "--format", "csv")
        process.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")

    def test_leaves_no_half_written_file(self, start, monkeypatch, tmp_path):
        """Interrupted when all is written and nothing is in its place yet."""
        waiting = COMMAND.replace("return original", "import time; time.sleep(60); return original")
        monkeypatch.setitem(globals(), "COMMAND", waiting)
        process = start("os:chmod", "SELECT * FROM range(200000)", "-o", str(tmp_path / "out.csv"))
        process.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")
        assert list(tmp_path.iterdir()) == []

    def test_stays_ignored_where_it_was_ignored(self, start, monkeypatch, tmp_path):
        """A script that starts a command in its background has it ignored, and the command must obey."""
        ignoring = COMMAND.replace("signal.default_int_handler", "signal.SIG_IGN")
        monkeypatch.setitem(globals(), "COMMAND", ignoring)
        process = start(HERE, "SELECT sum(range) AS s FROM range(20000000)", "--format", "csv")
        process.send_signal(signal.SIGINT)
        assert end(process) == (0, "")
        assert process.stdout.read() == '"s"\n199999990000000\n'

    def test_ends_both_where_a_terminal_sends_it_to_both(self, start):
        process = start(ASKING, JOIN, *IN_A_CHILD)
        child = child_of(process)
        work(child, 1)
        child.send_signal(signal.SIGINT)
        assert end(process) == (-signal.SIGINT, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_nothing_goes_on_where_the_command_was_killed(start):
    process = start(ASKING, DEAF, "--untrusted", "--timeout", "60")
    child = child_of(process)
    process.kill()
    assert psutil.wait_procs([child], WAIT_S)[1] == []


@pytest.mark.parametrize("options", [(), ("--untrusted",)])
def test_a_timeout_ends_also_what_heeds_no_interrupt(start, options):
    process = start(ASKING, JOIN, "--timeout", "1", *options)
    assert end(process) == (1, "Error: the query was stopped after 1 s (--timeout)\n")
    assert has_ended(process.asked)


def test_a_timeout_ends_printing_to_a_reader_that_does_not_read(start):
    process = start(PRINTING, "SELECT * FROM range(200000)", "--format", "csv", "--timeout", "1")
    assert end(process) == (1, "Error: the query was stopped after 1 s (--timeout)\n")


def test_a_timeout_leaves_no_half_written_file(start, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("before")
    process = start(
        ASKING, "SELECT * FROM range(99999999999)", "--format", "csv", "-o", str(output), "--timeout", "1"
    )
    assert end(process) == (1, "Error: the query was stopped after 1 s (--timeout)\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert output.read_text() == "before"


# In one process, where nobody can be killed: a query that is deaf is left to itself.
IN_PROCESS = textwrap.dedent(
    """
    import os, signal, sys, threading
    from thermograd.store.errors import QueryError
    from thermograd.store.query import connection
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begun, check = threading.Event(), connection._check_statement
    def checked(*arguments):
        check(*arguments)
        begun.set()
    connection._check_statement = checked
    def send():
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)
    if sys.argv[2] == "None":
        threading.Thread(target=send).start()
    try:
        connection.query(sys.argv[1], [], timeout_s=eval(sys.argv[2]))
    except (QueryError, KeyboardInterrupt) as error:
        print(type(error).__name__, error, flush=True)
        os._exit(0)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("timeout", "said"),
    [("1", "QueryError the query was stopped after 1 s (--timeout)\n"), ("None", "KeyboardInterrupt \n")],
)
@pytest.mark.parametrize("sql", [JOIN, DEAF])
def test_a_query_of_the_library_is_given_up_at_once(timeout, said, sql):
    command = [sys.executable, "-c", IN_PROCESS, sql, timeout]
    process = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert process.stdout == said


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), 0, -1.0, 1e12])
def test_a_timeout_that_is_none_is_refused(timeout_s):
    with pytest.raises(QueryError, match=r"the time-out is .* s; allowed: above 0, at most 10000000"):
        query("SELECT 1", [], timeout_s=timeout_s)
    with pytest.raises(QueryError, match="the time-out is"):
        list(answer("SELECT 1", Path(), limits=Limits(timeout_s=timeout_s)))


@pytest.mark.parametrize("option", ["--timeout", "--memory"])
@pytest.mark.parametrize("given", ["nan", "inf", "-1", "0", "1e400", "1e12", "5s", ""])
def test_a_limit_that_is_no_limit_is_refused_in_a_sentence(option, given):
    result = CliRunner().invoke(main, ["query", option, given, "SELECT 1"])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
