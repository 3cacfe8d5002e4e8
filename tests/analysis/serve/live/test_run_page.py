"""The page of a run in a browser while the run is written: points come, zooms stay, nothing else happens."""

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_training import Training
from serving import served, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright (extra dev) is not installed")

_HOSTILE = "<img src=x onerror='window.hit=1'>{{7*7}}"
_WATCH = (
    "window.violations = []; addEventListener('securitypolicyviolation', e => "
    "window.violations.push(e.violatedDirective + ' ' + e.blockedURI))"
)
_END = "Number(document.getElementById('timeline').dataset.end)"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[str]:
    with served(runs) as url:
        yield url


class Looked:
    """A page, what its console said, and what it asked whom."""

    def __init__(self, browser: Any, server: str, path: str) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.server, self.said, self.asked = server, [], []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.add_init_script(_WATCH)
        self.page.goto(f"{server}{path}")

    def wait(self, condition: str) -> None:
        """Wait for a condition; Playwright's own waiting evaluates text, which the page's policy forbids."""
        until_s = time.monotonic() + 120
        while not self.page.evaluate(condition):
            assert time.monotonic() < until_s, condition
            self.page.wait_for_timeout(20)

    def is_quiet(self) -> None:
        foreign = [url for url in self.asked if not url.startswith((self.server, "data:"))]
        assert (self.said, foreign, self.page.evaluate("window.violations")) == ([], [], [])
        assert self.page.evaluate("window.hit") is None


def _now() -> int:
    return time.time_ns() - 30 * 10**9


def test_points_alerts_and_readings_come_while_the_run_is_written(
    browser: Any, server: str, runs: Path
) -> None:
    training = Training(runs, start_ns=_now(), name=_HOSTILE)
    training.train(100)
    training.sample(10)
    looked = Looked(browser, server, f"/run/{training.run.run_id}")
    looked.wait(f"{_END} > 9.8")
    training.train(50)
    training.sample(5)
    looked.wait(f"{_END} > 14.8")
    told = {"alert": "spike.grad", "severity": "critical", "message": _HOSTILE, "device": "gpu"}
    training.agent.append("alert", **told)
    text = looked.page.locator("#alerts")
    sync_api.expect(text).to_contain_text("Look at: the batch of this step")
    sync_api.expect(text).to_contain_text(_HOSTILE)
    sync_api.expect(looked.page.locator("h1")).to_have_text(_HOSTILE)
    sync_api.expect(looked.page.locator("#devices")).to_contain_text("65")
    sync_api.expect(looked.page.locator("#evidence")).to_contain_text("None so far: the agent works it out")
    assert looked.page.locator("#timeline canvas").count() >= 4
    looked.is_quiet()
    looked.page.close()


def test_a_zoom_is_in_the_address_survives_a_reload_and_back_and_forward_step_through(
    browser: Any, server: str, runs: Path
) -> None:
    training = Training(runs, start_ns=_now())
    training.train(600)
    training.close()
    looked = Looked(browser, server, f"/run/{training.run.run_id}#t=10,30")
    page = looked.page
    edge = page.locator("#edge")
    sync_api.expect(edge).to_have_text("zoomed: 0 shows all")
    looked.wait(f"{_END} > 59")
    page.keyboard.press("+")
    looked.wait("location.hash === '#t=15,25'")
    page.reload()
    looked.wait(f"{_END} > 59")
    assert page.evaluate("location.hash") == "#t=15,25"
    shown = [url for url in looked.asked if "from_s=15&to_s=25" in url]
    page.keyboard.press("0")
    looked.wait("location.hash === ''")
    sync_api.expect(edge).to_have_text("")
    page.go_back()
    looked.wait("location.hash === '#t=15,25'")
    sync_api.expect(edge).to_have_text("zoomed: 0 shows all")
    page.go_back()
    looked.wait("location.hash === '#t=10,30'")
    page.go_forward()
    looked.wait("location.hash === '#t=15,25'")
    assert len(shown) >= 2  # before the reload, and after it
    looked.is_quiet()
    page.close()


def test_a_page_outlives_its_server_and_says_when_its_run_is_gone(browser: Any, tmp_path: Path) -> None:
    training = Training(tmp_path, start_ns=_now())
    training.train(50)
    path, drawn = f"/run/{training.run.run_id}", "document.getElementById('timeline').dataset.points"
    with serving(tmp_path) as first:
        looked = Looked(browser, first.url, f"{path}#t=120,180")
        edge, trouble = looked.page.locator("#edge"), looked.page.locator("#trouble")
        sync_api.expect(edge).to_have_text("nothing at 2 min yet: the run has come to 5 s; 0 shows all")
        looked.page.keyboard.press("0")
    sync_api.expect(trouble).to_contain_text("The server does not answer")
    training.train(50)
    training.close()
    with serving(tmp_path, "--port", str(first.port)) as second:
        looked.wait(f"{_END} > 9.8")
        sync_api.expect(trouble).to_be_hidden()
        fresh = Looked(browser, second.url, path)
        fresh.wait(f"{_END} > 9.8")
        assert looked.page.evaluate(drawn) == fresh.page.evaluate(drawn)
        shutil.rmtree(training.run.path)
        sync_api.expect(trouble).to_contain_text("Nothing more comes")
        sentence = looked.page.locator("#verdict-sentence")
        sync_api.expect(sentence).not_to_contain_text("being worked out")
        asked: list[str] = []
        looked.page.on("request", lambda request: asked.append(request.url))
        looked.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        looked.page.evaluate("new Promise(requestAnimationFrame)")
        assert not [url for url in asked if url.endswith("/verdict")]
        fresh.page.close()
    looked.page.close()


def test_a_run_with_nothing_in_it_says_so(browser: Any, server: str, runs: Path) -> None:
    looked = Looked(browser, server, f"/run/{Training(runs, devices={}).run.run_id}")
    told = "Nothing to draw yet: no step and no reading has been logged."
    looked.wait(f"document.getElementById('timeline').dataset.empty === {json.dumps(told)}")
    sync_api.expect(looked.page.locator("#devices")).to_contain_text("No device has given a reading")
    sync_api.expect(looked.page.locator("#pace")).to_have_text("nothing has been logged yet")
    looked.is_quiet()
    looked.page.close()


def test_the_stream_of_events_begins_with_hello_and_tells_what_is_new(server: str, runs: Path) -> None:
    training = Training(runs)
    training.train(5)
    address = f"{server}/api/run/{training.run.run_id}"
    with urllib.request.urlopen(f"{address}/timeline?width=300", timeout=60) as answer:
        before = json.load(answer)
    with urllib.request.urlopen(f"{address}/events", timeout=60) as stream:
        lines = (line.decode().strip() for line in stream)
        assert next(line for line in lines if line.startswith("event:")) == "event: hello"
        training.train(3)
        next(line for line in lines if line == "event: points")
        told = json.loads(next(lines).removeprefix("data: "))
    assert told["version"] > before["version"]
    assert told["panels"]["loss"]["lines"]["loss"] == [[0.5, 0.6, 0.7], [7.0, 8.0, 2.0]]


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [("timeline?from_s=x", 400, "a number of seconds"), ("timeline?to_s=nan", 400, "a number of seconds")],
)
def test_what_cannot_be_asked_is_refused_in_words(
    server: str, runs: Path, path: str, status: int, word: str
) -> None:
    address = f"{server}/api/run/{Training(runs).run.run_id}/{path}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=60)
    assert refused.value.code == status
    assert word in json.load(refused.value)["error"]
