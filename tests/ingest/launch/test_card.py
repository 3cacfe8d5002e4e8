"""The card after `thermograd run`: a while is waited for it, and nothing of the command's end is changed."""

import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from thermograd.ingest.launch import card
from thermograd.ingest.launch.card import tell_cards

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in the child's place")

QUICK = json.dumps(["thermograd: verdict  Not worked out yet"])
WHOLE = json.dumps(["thermograd: verdict  Nothing found."])


@pytest.fixture
def child_is(tmp_path, monkeypatch):
    """Put a shell script in the place of the process that makes cards."""
    monkeypatch.delenv("THERMOGRAD_CARD")

    def install(script):
        path = tmp_path / "child.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


def test_the_last_card_counts(tmp_path, child_is, capfd):
    child_is(f"echo '{QUICK}'; echo '{WHOLE}'; echo noise >&2")
    tell_cards([tmp_path], 0)
    assert capfd.readouterr().err == "thermograd: verdict  Nothing found.\n"


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_where_the_time_is_up_what_is_known_is_told(tmp_path, child_is, capfd, monkeypatch):
    """The time begins when the child has told what it knows: a busy machine may take longer to start it."""
    ready = tmp_path / "ready"
    child_is(f"echo '{QUICK}'; echo '[\"half'; touch {ready}; exec sleep 600")

    @contextmanager
    def waiting_told():
        wait_until(ready.exists)
        yield

    monkeypatch.setattr(card, "waiting_told", waiting_told)
    begun = time.monotonic()
    tell_cards([tmp_path], 0, limit_s=0.1)
    assert time.monotonic() - begun < 300
    assert capfd.readouterr().err == "thermograd: verdict  Not worked out yet\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_and_nothing_else(tmp_path, child_is, capfd, monkeypatch, number):
    ready, waits = tmp_path / "ready", threading.Event()
    child_is(f"echo '{QUICK}'; touch {ready}; exec sleep 600")

    @contextmanager
    def waiting_told():
        waits.set()
        yield

    def interrupt():
        wait_until(lambda: ready.exists() and waits.is_set())
        os.kill(os.getpid(), number)

    monkeypatch.setattr(card, "waiting_told", waiting_told)
    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    tell_cards([tmp_path], 0, limit_s=300)
    thread.join()
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err == "thermograd: verdict  Not worked out yet\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_the_child_is_started_ends_the_waiting_too(
    tmp_path, child_is, capfd, monkeypatch, number
):
    child_is(f"echo '{QUICK}'; exec sleep 600")
    started, before = card._started, signal.getsignal(number)

    def interrupted(arguments):
        child = started(arguments)
        child.kill()
        with child:
            pass
        signal.raise_signal(number)

    monkeypatch.setattr(card, "_started", interrupted)
    tell_cards([tmp_path], 0, limit_s=300)
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err == ""


def test_after_a_signal_nobody_waits_for_a_verdict(tmp_path, child_is, capfd):
    child_is("""printf '["%s"]\\n' "$*" """)
    tell_cards([tmp_path], 143)
    tell_cards([tmp_path], 1)
    killed, failed = capfd.readouterr().err.splitlines()
    assert killed == f"{failed} --no-verdict"


def test_a_child_that_fails_tells_nothing(tmp_path, child_is, capfd):
    child_is("echo Traceback; exit 1")
    tell_cards([tmp_path], 0)
    assert capfd.readouterr().err == ""


def test_switched_off_no_child_is_started(tmp_path, child_is, monkeypatch, capfd):
    child_is(f"touch {tmp_path / 'started'}; echo '{WHOLE}'")
    monkeypatch.setenv("THERMOGRAD_CARD", "0")
    tell_cards([tmp_path], 0)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "started").exists()
