"""The card after `thermograd run`: a while is waited for it, and nothing of the command's end is changed."""

import json
import os
import signal
import sys
import threading
import time

import pytest
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


def test_where_the_time_is_up_what_is_known_is_told(tmp_path, child_is, capfd):
    child_is(f"echo '{QUICK}'; echo '[\"half'; exec sleep 60")
    begun = time.monotonic()
    tell_cards([tmp_path], 0, limit_s=0.5)
    assert time.monotonic() - begun < 30
    assert capfd.readouterr().err == "thermograd: verdict  Not worked out yet\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_and_nothing_else(tmp_path, child_is, capfd, number):
    ready = tmp_path / "ready"
    child_is(f"echo '{QUICK}'; touch {ready}; exec sleep 60")

    def interrupt():
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=interrupt, daemon=True).start()
    tell_cards([tmp_path], 0, limit_s=50)
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err == "thermograd: verdict  Not worked out yet\n"


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
