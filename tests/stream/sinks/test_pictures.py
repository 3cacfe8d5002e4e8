"""Pictures of critical alerts: carried where they are ready, and never a reason to be late or lost."""

import base64
import sys
import time
from pathlib import Path

import pytest
from receiving import received
from thermograd.stream.settings import Settings, SinkSettings
from thermograd.stream.sinks import pictures
from thermograd.stream.sinks.apprise import AppriseSink
from thermograd.stream.sinks.base import Message, SinkError
from thermograd.stream.sinks.notifier import Notifier
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.pictures import Pictures

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
DRAWN = f"import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write({PNG!r})"
HANGS = "import time; time.sleep(600)"
LONG_S = 60.0


def alert(severity="critical", time_ns=10**18, name="nonfinite"):
    columns = {"time_ns": time_ns, "alert": name, "severity": severity, "message": "loss is NaN"}
    return columns | {"device": None, "metric": None, "step": 3, "definition": "x" * 1000}


class Asked:
    """Counts how often a process was asked for, and what there was to say."""

    def __init__(self, script, wait_s=LONG_S, limit_s=LONG_S):
        self.times, self.troubles = 0, []
        self._script = script
        self.pictures = Pictures(self._command, self.troubles.append, wait_s, limit_s)

    def _command(self):
        self.times += 1
        return [sys.executable, "-S", "-c", self._script]

    def settled(self):
        """Wait until no picture is made any more."""
        until_s = time.monotonic() + LONG_S
        while self.pictures._now is not None and time.monotonic() < until_s:
            time.sleep(0.005)
        assert self.pictures._now is None
        return self


@pytest.fixture
def receiver():
    with received() as server:
        yield server


def told_of(receiver, asked, *alerts, **settings):
    """Tell a webhook of alerts; return the bodies that it got, and the notifier's account."""
    hook = SinkSettings(type="webhook", url=receiver.url(), cooldown_s=0, minimum="info", **settings)
    notifier = Notifier(Settings(sinks={"hook": hook}), lambda _: None, print, {}, asked.pictures)
    for each in alerts:
        notifier.tell(each)
    bodies = [body for _, body in receiver.wait_for(len(alerts))]
    notifier.close(LONG_S)
    return bodies, notifier.account()


def test_a_critical_alert_carries_its_picture_and_another_does_not(receiver):
    asked = Asked(DRAWN)
    bodies, account = told_of(receiver, asked, alert("warning"), alert(), picture=True)
    (critical,) = [body for body in bodies if body["severity"] == "critical"]
    (warning,) = [body for body in bodies if body["severity"] == "warning"]
    assert base64.b64decode(critical["image_png_base64"]) == PNG
    assert "image_png_base64" not in warning
    assert account["alerts sent to sink hook"] == 2
    assert account["alerts sent to sink hook with a picture"] == 1


def test_a_sink_that_wants_none_has_no_process_started(receiver):
    asked = Asked(DRAWN)
    ((body,), account) = told_of(receiver, asked, alert())
    assert "image_png_base64" not in body
    assert asked.times == 0
    assert not any("picture" in name for name in account)


def test_a_process_that_hangs_does_not_hold_the_text(receiver):
    asked = Asked(HANGS, wait_s=0.2, limit_s=LONG_S)
    ((body,), account) = told_of(receiver, asked, alert(), picture=True)
    assert body["message"] == "loss is NaN"
    assert "image_png_base64" not in body
    assert account["alerts sent to sink hook with a picture"] == 0
    asked.settled()  # the end of the run ends the process
    assert asked.pictures.failed == 1
    assert "the run ended before it was drawn" in asked.troubles[0]


@pytest.mark.parametrize(
    ("script", "limit_s", "said"),
    [
        ("raise SystemExit(3)", LONG_S, "pip install 'thermograd[report]'"),
        ("raise SystemExit(1)", LONG_S, "ended with exit code 1"),
        ("print('no picture')", LONG_S, "ended with exit code 0"),
        (HANGS, 0.2, "longer than 0.2 s"),
    ],
)
def test_why_there_is_no_picture_is_said_once_and_then_none_is_tried_for_a_while(script, limit_s, said):
    asked = Asked(script, limit_s=limit_s)
    assert asked.pictures.of(alert()).png() is None
    asked.settled()
    assert asked.pictures.of(alert(time_ns=10**18 + 10**11)) is None
    assert (asked.times, asked.pictures.failed, asked.pictures.made) == (1, 1, 0)
    (trouble,) = asked.troubles
    assert said in trouble


def test_alerts_of_one_moment_share_a_picture_and_another_moment_has_none_meanwhile():
    asked = Asked(HANGS)
    first = asked.pictures.of(alert())
    assert asked.pictures.of(alert(time_ns=10**18 + 10**9)) is first
    assert asked.pictures.of(alert(time_ns=10**18 + 10**11)) is None
    asked.pictures.finish()
    assert first.png() is None
    assert asked.settled().pictures.of(alert()) is None
    assert asked.times == 1


def test_a_process_that_begins_when_the_run_has_ended_is_ended_too(monkeypatch):
    monkeypatch.setattr(pictures, "_AT_END_S", 0.0)
    asked = Asked(HANGS)

    def late():
        until_s = time.monotonic() + LONG_S
        while not asked.pictures._cut_short and time.monotonic() < until_s:
            time.sleep(0.005)
        time.sleep(0.05)  # for the timer to find no process
        return asked._command()

    asked.pictures._command = late
    asked.pictures.of(alert())
    asked.pictures.finish()
    assert asked.settled().troubles == ["alerts go out without a picture: the run ended before it was drawn"]


class Refusing:
    """Takes a message without a picture only."""

    def __init__(self):
        self.tried = []

    def send(self, message):
        self.tried.append(message.png)
        if message.png is not None:
            raise SinkError("it answered HTTP 413", permanent=True)


def test_a_message_is_not_lost_where_its_picture_is_refused():
    sink, troubles = Refusing(), []
    outbox = Outbox("box", sink, troubles.append, attempts=1)
    outbox.put(Message("t", "x", "critical", {}), Asked(DRAWN).pictures.of(alert()))
    outbox.close(LONG_S)
    assert sink.tried == [PNG, None]
    assert (outbox.sent, outbox.dropped, outbox.pictured, troubles) == (1, 0, 0, [])


def test_apprise_is_given_a_file_that_is_gone_afterwards():
    class Service:
        def notify(self, attach=None, **_):
            self.path, self.content = attach, attach and Path(attach).read_bytes()
            return True

    sink = AppriseSink("json://localhost")
    sink._service = service = Service()
    sink.send(Message("t", "x", "critical", {}, PNG))
    assert service.content == PNG
    assert not Path(service.path).exists()
    sink.send(Message("t", "x", "critical", {}))
    assert service.path is None
