"""Sinks: what they send, how they fail, that they delay nothing, and that no secret leaves them."""

import io
import json
import logging
import math
import re
import socket
import sys
import threading
from pathlib import Path

import pytest
from ports import closed_port
from receiving import SECRET, received
from thermograd.store.errors import ConfigError
from thermograd.store.events import column_names
from thermograd.stream.settings import Settings, SinkSettings
from thermograd.stream.sinks.base import JsonlSink, Message, SinkError
from thermograd.stream.sinks.notifier import ADVICE, Notifier, make_sink
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.webhook import WebhookSink, check_url

PAGE = Path(__file__).parents[3] / "docs" / "alerts.md"


@pytest.fixture
def receiver():
    """Return a running web server."""
    with received() as server:
        yield server


def message(text="hot", **values):
    return Message("thermograd run: warning x", text, "warning", {"alert": "x", "value": math.nan} | values)


class Recording:
    """A sink that fails as often as told, then keeps what it gets."""

    def __init__(self, fails=0, error=None, gate=None):
        self.fails, self.error, self.gate = fails, error or SinkError("it is down"), gate
        self.sent, self.attempts = [], 0

    def send(self, message):
        self.attempts += 1
        if self.gate is not None:
            self.gate.wait(60)
        if self.attempts <= self.fails:
            raise self.error
        self.sent.append(message)


def boxed(sink, **options):
    told = []
    return Outbox("team", sink, told.append, wait_s=0.001, **options), told


def test_a_message_that_fails_is_tried_again_and_nobody_is_bothered():
    sink = Recording(fails=2)
    box, told = boxed(sink)
    box.put(message())
    box.close(60)
    assert (sink.attempts, box.sent, box.dropped, told) == (3, 1, 0, [])


def test_a_sink_that_stays_down_is_told_once_and_its_messages_counted():
    sink = Recording(fails=10**6)
    box, told = boxed(sink, attempts=3)
    for _ in range(5):
        box.put(message())
    box.close(60)
    assert told == ["alerts do not reach sink 'team': it is down; its alerts are in the log"]
    assert (box.sent, box.dropped) == (0, 5)
    assert sink.attempts == 3 + 4


def test_a_permanent_failure_is_not_tried_again():
    sink = Recording(fails=1, error=SinkError("gone", permanent=True))
    box, told = boxed(sink)
    box.put(message())
    box.put(message())
    box.close(60)
    assert (sink.attempts, box.sent, box.dropped) == (2, 1, 1)
    assert told == [
        "alerts do not reach sink 'team': gone; its alerts are in the log",
        "alerts reach sink 'team' again, after 1 failures",
    ]


def test_the_text_of_an_unexpected_error_is_not_told():
    box, told = boxed(Recording(fails=9, error=RuntimeError(f"https://x/{SECRET}")), attempts=1)
    box.put(message())
    box.close(60)
    assert told == ["alerts do not reach sink 'team': RuntimeError; its alerts are in the log"]


def test_a_sink_that_hangs_delays_nothing_and_what_is_too_much_is_dropped():
    gate = threading.Event()
    sink = Recording(gate=gate)
    box, told = boxed(sink, capacity=4)
    for _ in range(50):
        box.put(message())
    box.close(0.0)
    assert box.sent + box.dropped == 50
    assert box.dropped >= 45
    assert told == ["alerts do not reach sink 'team': more alerts than it can take; the rest is dropped"]
    gate.set()  # from now on the thread may say that it works again


def test_what_is_left_at_the_end_is_counted_and_told():
    gate = threading.Event()
    box, told = boxed(Recording(gate=gate))
    box.put(message())
    box.close(0.0)
    assert (box.sent, box.dropped) == (0, 1)
    assert told == ["alerts do not reach sink 'team': 1 alert not sent before the end"]
    gate.set()


def test_jsonl_is_strict_json_a_line_an_alert(tmp_path):
    path = tmp_path / "alerts.jsonl"
    sink = JsonlSink(path)
    sink.send(message(device="a\nb"))
    sink.send(message(value=math.inf))
    lines = path.read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["value"] for line in lines] == ["nan", "inf"]
    with pytest.raises(SinkError, match="No such file"):
        JsonlSink(tmp_path / "no" / "x.jsonl").send(message())


def test_a_webhook_posts_json_with_its_token(receiver):
    WebhookSink(receiver.url("hook"), token="abc").send(message(step=3))
    ((path, body),) = receiver.wait_for(1)
    assert path == "/hook"
    assert body == {"alert": "x", "value": "nan", "step": 3, "text": "thermograd run: warning x: hot"}
    assert receiver.headers_got[0]["Authorization"] == "Bearer abc"
    assert receiver.headers_got[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "permanent"), [(404, True), (302, True), (429, False), (500, False), (503, False)]
)
def test_a_webhook_tells_what_it_was_answered_and_follows_no_redirect(receiver, status, permanent):
    receiver.status = status
    with pytest.raises(SinkError, match=f"it answered HTTP {status}") as caught:
        WebhookSink(receiver.url()).send(message())
    assert caught.value.permanent is permanent
    assert len(receiver.wait_for(1)) == 1
    assert SECRET not in str(caught.value)


def test_a_webhook_that_is_not_there_keeps_its_address_to_itself():
    with closed_port() as port:
        for url in (f"http://127.0.0.1:{port}/{SECRET}", f"http://127.0.0.1:{port}/a b{SECRET}"):
            with pytest.raises(SinkError) as caught:
                WebhookSink(url).send(message())
            assert SECRET not in str(caught.value)
            assert caught.value.__cause__ is None


def test_a_host_that_is_not_found_is_said_so_without_its_name(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, f"{SECRET} is not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SinkError, match="^host not found$") as caught:
        WebhookSink(f"https://{SECRET}.example/").send(message())
    assert caught.value.permanent is False


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "ftp://x", "https://", "x", "", "https://a b/", "http://127.0.0.1:0/", "//x"],
)
def test_an_address_that_could_leak_is_refused(url):
    with pytest.raises(ConfigError, match="here is no address to post to; allowed: https://"):
        check_url(url, "here")


@pytest.mark.parametrize(
    "url", [f"https://user:{SECRET}@x.y/z", f"http://{SECRET}@localhost:1/a", f"https://x.y\\@{SECRET}/"]
)
def test_a_user_in_an_address_is_refused_and_not_told(url):
    with pytest.raises(ConfigError, match="here holds a user name or .*; allowed: .* token") as caught:
        check_url(url, "here")
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError, match=r"sinks\.team\.url holds a user name"):
        make_sink("team", SinkSettings(type="webhook", url="env:TEAM_URL"), {"TEAM_URL": url})


@pytest.mark.parametrize(
    "url", ["https://x.y/z", "http://localhost:1/a", "http://127.0.0.1/", "http://[::1]:8/a"]
)
def test_https_and_this_machine_are_allowed(url):
    check_url(url, "here")


def test_the_body_on_the_page_is_what_a_webhook_gets(receiver):
    """Of four alike alerts the first is told at once, the others as one: the worst is that of the page."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    told = json.loads(shown)
    alert = {name: told[name] for name in column_names("alert") if name != "seq"}
    notifier = Notifier(
        Settings(sinks={"hook": SinkSettings(type="webhook", url=receiver.url())}),
        lambda line: None,
        pytest.fail,
        {"run_id": told["run_id"], "name": told["run"]},
    )
    for ago_s, score in ((400, 6.0), (300, 6.1), (200, 6.2), (0, alert["score"])):
        time_ns = alert["time_ns"] - ago_s * 10**9
        notifier.tell(alert | {"time_ns": time_ns, "onset_time_ns": time_ns, "score": score})
    notifier.close(60)
    assert list(receiver.wait_for(2)[-1][1].items()) == list(told.items())


def test_a_secret_that_is_not_set_is_named():
    sink = SinkSettings(type="webhook", url="env:TEAM_URL")
    with pytest.raises(ConfigError, match=r"sinks\.team\.url is taken .* TEAM_URL is not set"):
        make_sink("team", sink, {})
    assert isinstance(make_sink("team", sink, {"TEAM_URL": "https://x/y"}), WebhookSink)


def test_outlets_route_by_policy_and_tell_of_sinks_that_are_off(receiver, tmp_path):
    told, lines = [], []
    sinks = {
        "all": SinkSettings(type="jsonl", path=str(tmp_path / "all.jsonl"), minimum="info", cooldown_s=0),
        "grave": SinkSettings(type="webhook", url=receiver.url(), minimum="critical", cooldown_s=60),
        "off": SinkSettings(type="webhook", url="env:NO_SUCH_VARIABLE_HERE"),
    }
    notifier = Notifier(Settings(sinks=sinks), lines.append, told.append, {"run_id": "r1", "name": "my\nrun"})
    for second, severity in ((0, "info"), (1, "critical"), (2, "critical"), (100, "critical")):
        notifier.tell(
            {"alert": "nonfinite", "severity": severity, "time_ns": second * 10**9, "message": f"at {second}"}
        )
    notifier.close(60)
    assert [line.split()[-1] for line in lines] == ["0", "1", "2"]
    assert "2 more in 98 s; worst: at 2" in lines[-1]
    assert [json.loads(line)["message"] for line in (tmp_path / "all.jsonl").read_text().splitlines()] == [
        "at 0", "at 1", "at 2", "at 100"]  # fmt: skip
    got = [body for _, body in receiver.wait_for(2)]
    assert [(b["message"], b["held_back"], b["run_id"]) for b in got] == [
        ("at 1", 0, "r1"),
        ("at 2", 1, "r1"),
    ]
    assert [b["episode"] and b["episode"]["count"] for b in got] == [None, 2]
    about = f"2 more in 98 s; worst: at 2. Look at: {ADVICE['nonfinite']}"
    assert got[1]["text"] == f"thermograd my run: critical nonfinite: {about}"
    assert told == [
        "sink 'off' is off: sinks.off.url is taken from the environment, but NO_SUCH_VARIABLE_HERE is not set"
    ]
    assert notifier.account()["alerts sent to sink grave"] == 2
    assert notifier.account()["alerts held back from sink grave"] == 2


@pytest.fixture
def heard():
    """Return what any logger says, at any level, while a test lasts."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def apprise():
    """Return the library, or skip."""
    return pytest.importorskip("apprise")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its plugins, not ours
@pytest.mark.usefixtures("apprise")
def test_apprise_delivers(receiver):
    url = receiver.url("hook").replace("http://", "json://")
    make_sink("team", SinkSettings(type="apprise", url=url)).send(message())
    ((_, body),) = receiver.wait_for(1)
    assert (body["title"], body["message"], body["type"]) == ("thermograd run: warning x", "hot", "warning")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its plugins, not ours
@pytest.mark.usefixtures("apprise")
@pytest.mark.parametrize("kind", ["refused", "unreachable", "unknown"])
def test_apprise_keeps_its_address_to_itself(receiver, heard, capfd, kind):
    receiver.status = 500
    with closed_port() as closed:
        port = receiver.server_port if kind == "refused" else closed
        url = f"json://user:{SECRET}@127.0.0.1:{port}/{SECRET}"
        sink = SinkSettings(type="apprise", url=url if kind != "unknown" else f"nonsense://{SECRET}")
        with pytest.raises(SinkError) as caught:
            make_sink("team", sink).send(message())
    assert caught.value.permanent is (kind == "unknown")
    assert SECRET not in str(caught.value) + heard.getvalue() + "".join(capfd.readouterr())


def test_without_apprise_the_sink_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SinkError, match=r"pip install 'thermograd\[alerts\]'") as caught:
        make_sink("team", SinkSettings(type="apprise", url="json://x")).send(message())
    assert caught.value.permanent
