"""What is printed arrives whole, or it is said: short writes, pipes that do not wait, full disks."""

import io
import os
import subprocess
import sys
import threading
import time

import pytest
from thermograd.store import console
from thermograd.store.errors import ThermogradError
from thermograd.store.runs.catalogue import create_run


class Raw(io.RawIOBase):
    """Takes at most three bytes of a write, as a raw stream may."""

    def __init__(self, fails=None):
        self.taken, self._fails = b"", fails

    def writable(self):
        return True

    def write(self, data):
        if self._fails:
            raise self._fails
        self.taken += bytes(data[:3])
        return min(3, len(data))


def stdout(monkeypatch, raw, buffered):
    buffer = io.BufferedWriter(raw) if buffered else raw  # PYTHONUNBUFFERED=1 has no buffer
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, "utf-8", write_through=not buffered))


@pytest.mark.parametrize("buffered", [True, False])
def test_short_writes_go_on_where_they_ended(monkeypatch, buffered):
    raw = Raw()
    stdout(monkeypatch, raw, buffered)
    console.echo("0123456789é")
    console.echo_json([1])
    console.write_out(b"\x00\xff" * 5)
    assert (
        raw.taken
        == f"0123456789é{os.linesep}[{os.linesep}  1{os.linesep}]{os.linesep}".encode() + b"\x00\xff" * 5
    )


def test_a_full_disk_is_one_sentence_and_a_closed_pipe_is_clicks(monkeypatch):
    stdout(monkeypatch, Raw(OSError(28, "No space left on device")), True)
    with pytest.raises(ThermogradError, match="cannot write to standard output: No space left on device"):
        console.echo("x")
    stdout(monkeypatch, Raw(BrokenPipeError(32, "Broken pipe")), True)
    with pytest.raises(BrokenPipeError):
        console.echo("x")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows wait")
def test_a_pipe_that_does_not_wait_gets_all(monkeypatch):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got = []

    def read():
        while part := os.read(reading, 1 << 16):
            got.append(part)

    reader = threading.Thread(target=read)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        reader.start()
        console.write_out(b"x" * 3_000_000)
    reader.join()
    os.close(reading)
    assert sum(map(len, got)) == 3_000_000


def ended(command):
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    return result.stdout.split()[-1:], result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    ["query 'SELECT 1'", "query 'FROM range(9999999)' --format csv", "runs --json", "--help", "--version"],
)
def test_commands_say_that_the_disk_is_full(tmp_path, unbuffered, arguments):
    command = (
        f"PYTHONUNBUFFERED={unbuffered} '{sys.executable}' -m thermograd.cli --runs '{tmp_path}' {arguments}"
    )
    code, said = ended(f"{command} > /dev/full; echo $?")
    assert (code, said) == (["1"], "Error: cannot write to standard output: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_reader_that_has_enough_ends_it_quietly(tmp_path):
    command = (
        f"'{sys.executable}' -m thermograd.cli --runs '{tmp_path}' query 'FROM range(9999999)' --format csv"
    )
    assert ended(f"({command}; echo $? >&2) | head -n 1") == (['"range"'], "1\n")


def test_what_a_command_prints_before_it_leaves_at_once_is_whole(tmp_path):
    older, newer = (create_run(tmp_path, name).run_id for name in ("older", "newer"))
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(tmp_path), "runs", "--limit", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2].startswith(newer)
    assert done.stderr == "1 more, older; --limit 0 shows all.\n", older


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_long_wait_is_told_on_a_terminal_and_taken_away_again(monkeypatch):
    told = Terminal()
    monkeypatch.setattr(sys, "stderr", told)
    with console.waiting_told(after_s=0.0):
        while "s so far; Ctrl-C ends it" not in told.getvalue():
            time.sleep(0.001)
    assert told.getvalue().endswith("\r\x1b[K")


def test_a_wait_that_is_short_or_seen_by_nobody_is_not_told(monkeypatch):
    for told, after_s in ((Terminal(), 1e6), (io.StringIO(), 0.0)):
        monkeypatch.setattr(sys, "stderr", told)
        with console.waiting_told(after_s=after_s):
            pass
        assert told.getvalue() == ""
