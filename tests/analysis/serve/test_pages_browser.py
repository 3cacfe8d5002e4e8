"""The pages in a real browser: silent, at home, by keyboard, and whatever a stranger named is only text."""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_training import Training
from serving import served
from synthetic import make_run
from thermograd.store.runs.tags import change_tags

pytest.importorskip("playwright.sync_api", reason="playwright (extra dev) is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core (extra dev)")

_HIT = "window.hit=1"
_HOSTILE = [
    f"<script>{_HIT}</script>", f'"><img src=x onerror="{_HIT}">', f"<svg/onload={_HIT}>", "../../etc/passwd",
    "\u202egnp.exe", "two\nlines", "x" * 10_000, "{{7*7}}", "{% raw %}", "${7*7}", "'; DROP TABLE runs; --",
    '"', "''", f"javascript:{_HIT}", "<!--", "-->", "</script>", "</textarea>", "&lt;b&gt;", "&#x3c;b&#x3e;",
    "%3Cb%3E", "\\", "%00", "\u0000", "\u2028", "\ufeff", "\u200b", "..", ".", " ", "-rf", "?run=x&run=y",
    "#where=1", "a/b", "a\\b", "constructor", "__proto__", "toString", "null", "NaN", "-1e999", "\u00e9",
    "\U0001f525" * 30, "\u0627" * 40, "\x1b[31m", "\t", "<style>*{display:none}</style>",
    f"<iframe srcdoc='<script>parent.{_HIT}</script>'>", f"<a href='javascript:{_HIT}'>x</a>",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={_HIT}>",
]  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a server of three plain runs and of one for every hostile name."""
    runs = tmp_path_factory.mktemp("runs")
    for place, name in enumerate(_HOSTILE):
        run = make_run(runs, steps=4, seconds=2.0, name=name, device=f"GPU {name}", seed=place)
        if place < 3:
            change_tags(run.path, [name.replace(",", "")[:60]], note=name)
    for name in ("baseline", "cooling", "sweep"):
        make_run(runs, steps=40, spikes=[20], name=name, simulated=name == "sweep")
    with served(runs) as url:
        yield url


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Give a tab, and check at the end that it was silent, broke no policy and asked nobody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address)
    tab = context.new_page()
    said: list[str] = []
    hosts: set[str] = set()
    tab.add_init_script(
        "window.broken = [];"
        "addEventListener('securitypolicyviolation', event => broken.push(event.violatedDirective))"
    )
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: hosts.add(re.sub(r"^(blob:)?(\w+://[^/]*).*", r"\2", request.url)))
    yield tab
    assert tab.evaluate("[window.hit, window.broken]") == [None, []]
    context.close()
    assert said == []
    assert {host for host in hosts if not host.startswith("data:")} == {address}


def _names(page: Any) -> list[str]:
    page.wait_for_selector("#rows tr")
    return [name.strip() for name in page.locator("#rows a.open").all_inner_texts()]


def _grave(page: Any) -> list[str]:
    """Return the findings of axe-core that keep somebody from using the page."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_hostile_names_are_text_in_the_table_and_in_answers(page: Any) -> None:
    page.goto("/#sort=name")
    first = _names(page)
    assert len(first) == 50
    page.locator("#next").click()
    page.wait_for_selector("#part:text('51 to 53')")
    assert len(_names(page)) == 3
    page.goto("/sql#q=SELECT+name,+devices,+tags,+notes+FROM+runs")
    page.keyboard.press("/")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#table td")
    shown = "\n".join(page.locator("#table td").all_inner_texts())
    assert f"<script>{_HIT}</script>" in shown
    assert "{{7*7}}" in shown
    assert page.locator("#table img, #table svg, #table iframe, #table script").count() == 0


def test_names_are_text_above_a_comparison_and_long_ones_are_cut(page: Any) -> None:
    page.goto("/#sort=name")
    _names(page)
    rows = page.locator("#rows tr")
    script = rows.filter(has_text=f"<script>{_HIT}").first.get_attribute("data-run")
    long = rows.filter(has_text="x" * 300).first.get_attribute("data-run")
    page.goto(f"/compare?run={script}&run={long}")
    assert f"<script>{_HIT}</script>" in page.inner_text("main")
    page.goto(f"/run/{long}")
    assert "characters left out" in page.inner_text("h1")
    assert page.locator("h1").bounding_box()["height"] < 200


def test_runs_are_found_sorted_and_filtered_and_the_address_keeps_it(page: Any) -> None:
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("baseline")
    page.wait_for_selector("#count:text('1 run found')")
    assert _names(page) == ["baseline"]
    page.fill("#search", "")
    page.fill("#where", "alerts > 0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#count:text('3 runs found')")
    page.click("button.sort:text('Run')")
    page.wait_for_selector("th[aria-sort=ascending]:has-text('Run')")
    page.wait_for_selector("#rows tr:first-child:has-text('baseline')")
    assert _names(page) == ["baseline", "cooling", "sweep"]
    page.reload()
    assert _names(page) == ["baseline", "cooling", "sweep"]
    assert page.locator("#rows tr:has-text('sweep') .is-simulated").count() == 1
    page.go_back()
    page.wait_for_selector("th[aria-sort=descending]:has-text('Started')")
    page.go_forward()
    page.wait_for_selector("th[aria-sort=ascending]:has-text('Run')")
    assert page.input_value("#where") == "alerts > 0"


def test_a_wrong_condition_is_shown_with_its_place(page: Any) -> None:
    page.goto("/#where=alerts > 0 AND los < 2")
    page.wait_for_selector("#where-error mark")
    assert page.inner_text("#where-error mark") == "los"
    assert "Line 1, column 16" in page.inner_text("#where-error")


def test_two_runs_are_chosen_by_keyboard_and_compared(page: Any) -> None:
    page.goto("/#where=alerts > 0")
    _names(page)
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    page.wait_for_selector("#selected:text('2 runs')")
    with page.expect_navigation(url=re.compile(r"/compare\?run=[^&]+&run=[^&]+$")):
        page.keyboard.press("c")


def test_an_error_of_a_query_is_marked_and_its_chart_and_file_are_there(page: Any) -> None:
    page.goto("/sql#q=SELECT+step,%0A++los%0AFROM+steps")
    page.click("#run")
    page.wait_for_selector("#query-error mark")
    assert page.inner_text("#query-error mark") == "los"
    assert page.inner_text(".numbers .wrong").strip() == "2"
    assert page.evaluate("getSelection().toString()") == "los"
    page.fill("#query", "SELECT step, loss, run_id FROM steps WHERE run_id LIKE '%baseline%'")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#progress:text('40 rows')")
    page.click("#drawing summary")
    page.wait_for_selector("#chart[data-drawn=line] canvas")
    with page.expect_download() as waited:
        page.click("#csv")
    assert Path(waited.value.path()).read_text().startswith('"step","loss","run_id"')


def test_a_link_fills_in_its_query_and_does_not_run_it(page: Any) -> None:
    page.goto("/sql#q=SELECT+1+AS+one")
    page.wait_for_selector("#views summary")
    assert page.input_value("#query") == "SELECT 1 AS one"
    assert page.locator("#answer").is_hidden()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_who_does_not_see_or_has_a_narrow_screen_can_use_the_pages(page: Any, look: str) -> None:
    page.emulate_media(color_scheme=look)
    page.goto("/")
    page.wait_for_selector("#rows .spark svg")
    if look == "light":
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.keyboard.press("?")
    assert _grave(page) == []
    page.goto("/sql")
    page.wait_for_selector("#views summary")
    assert look == "dark" or page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#run")
    page.wait_for_selector("#table td")
    assert _grave(page) == []


def test_an_empty_folder_says_how_to_get_a_run_whose_row_then_comes_and_grows(
    browser: Any, tmp_path: Path
) -> None:
    with served(tmp_path) as url:
        tab = browser.new_page()
        tab.goto(url)
        tab.wait_for_selector("#none code")
        assert "thermograd demo" in tab.inner_text("#none")
        training = Training(tmp_path, start_ns=time.time_ns())
        training.train(100)
        tab.wait_for_selector("#rows td[data-label=Steps]:text-is('100')")
        tab.focus("#rows a.open")
        training.train(50)
        tab.wait_for_selector("#rows td[data-label=Steps]:text-is('150')")
        assert tab.evaluate("document.activeElement.className") == "cut open"
        tab.close()


def test_static_files_are_kept_until_they_change(address: str) -> None:
    with urllib.request.urlopen(f"{address}/static/serve.css") as answer:
        tag = answer.headers["ETag"]
    asked = urllib.request.Request(f"{address}/static/serve.css", headers={"If-None-Match": tag})
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(asked)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/static/pages.py")
