"""The page in a real browser: silent, offline, one zoom for all, values at the cursor, by keyboard too."""

import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.report.comparison_report import write_comparison
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.store.runs.catalogue import Run, create_run

pytest.importorskip("playwright.sync_api", reason="playwright (extra dev) is not installed")

_HOSTILE = "</script><img src=x onerror=\"window.hit=1\"><svg onload='window.hit=1'>{{7*7}}"
_DRAWN = "Array.from(document.querySelectorAll('.chart')).every(c => c.dataset.drawn || c.closest('details'))"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(
        tmp_path_factory.mktemp("runs"),
        spikes=[100, 200],
        injections=[200],
        collapse_s=120.0,
        simulated=True,
        name=_HOSTILE,
        device=f"GPU {_HOSTILE}",
    )
    return write_report(run, analyze_run(run))["report"]


@pytest.fixture
def tab(browser: Any, report: Path) -> Iterator[Any]:
    """Open the report and check, when the test is done, that the browser had nothing to say."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said, asked = _listened(page)
    page.goto(report.as_uri())
    _wait(page, _DRAWN)
    yield page
    hit = page.evaluate("window.hit")
    page.close()
    assert said == []
    assert asked == [report.as_uri()]
    assert hit is None


def _listened(page: Any) -> tuple[list[str], list[str]]:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: asked.append(request.url) if not request.url.startswith("data:") else None
    )
    return said, asked


def _picture(page: Any, top: float, height: float) -> bytes:
    """Return how a strip of the timeline looks."""
    box = page.locator("#chart-timeline").bounding_box()
    clip = {"x": box["x"], "y": box["y"] + top, "width": box["width"], "height": height}
    picture: bytes = page.screenshot(clip=clip)
    return picture


def _until(page: Any, condition: Callable[[], bool]) -> bool:
    """Look again and again, for a page draws when it comes to it; say what the last look was."""
    end = time.monotonic() + 120
    while not (found := condition()) and time.monotonic() < end:
        page.wait_for_timeout(50)
    return found


def _wait(page: Any, condition: str) -> None:
    """Wait until something holds in a page, whose policy lets no text become a script."""
    assert _until(page, lambda: page.evaluate(condition)), condition


def _differ(some: list[bytes], others: list[bytes]) -> bool:
    return all(a != b for a, b in zip(some, others, strict=True))


def _at_rest(page: Any) -> list[bytes]:
    """Return how the panels look once they look the same twice."""
    looks = [_all_panels(page)]
    assert _until(page, lambda: looks.append(_all_panels(page)) or looks[-1] == looks[-2])
    return looks[-1]


def _all_panels(page: Any) -> list[bytes]:
    page.locator("#chart-timeline").scroll_into_view_if_needed()
    page.mouse.move(2, 2)
    return [_picture(page, 128.0 * place + 4, 118.0) for place in range(4)]


def test_every_chart_is_drawn(tab: Any) -> None:
    names = tab.evaluate(
        "Array.from(document.querySelectorAll('.chart canvas')).map(c => c.closest('.chart').id)"
    )
    assert names == ["chart-timeline", "chart-lag", "chart-cross"]
    for title, chart in (("More curves", "more"), ("How long each signal remembers", "memory")):
        tab.locator("summary", has_text=title).click()
        _wait(tab, f"document.querySelector('#chart-{chart}').dataset.drawn")
    assert tab.locator("img.still").first.is_hidden()


def test_zooming_one_panel_zooms_all_and_a_double_click_goes_back(tab: Any) -> None:
    before = _all_panels(tab)
    box = tab.locator("#chart-timeline").bounding_box()
    tab.mouse.move(box["x"] + 500, box["y"] + 190)  # over the gradient norm
    tab.keyboard.down("Shift")
    tab.mouse.wheel(0, -400)
    tab.keyboard.up("Shift")
    assert _until(tab, lambda: _differ(before, _all_panels(tab)))
    tab.mouse.dblclick(box["x"] + 500, box["y"] + 190)
    assert _until(tab, lambda: _all_panels(tab) == before)


def test_hovering_one_panel_reads_out_all(tab: Any) -> None:
    tab.locator("#chart-timeline").scroll_into_view_if_needed()
    box = tab.locator("#chart-timeline").bounding_box()
    scale = (box["width"] - 90) / 150
    tab.mouse.move(box["x"] + 75 + 50 * scale, box["y"] + 60)
    tab.locator(".readout").wait_for(state="visible")
    told = tab.locator(".readout").inner_text()
    assert "Loss" in told
    assert re.search(r"Temperature\s+\d\d\.\d+ °C", told)  # of the only device: its name needs no room
    assert "Power" in told
    tab.mouse.move(2, 2)
    tab.locator(".readout").wait_for(state="hidden")


def test_pointing_at_a_lag_tells_its_numbers_one_a_line(tab: Any) -> None:
    chart = tab.locator("#chart-lag")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tip, places = tab.locator("#vg-tooltip-element"), itertools.cycle(range(0, 24, 3))

    def told() -> bool:
        """Point at the next place of the band, and say whether there is a word: a stem has none."""
        tab.mouse.move(box["x"] + box["width"] / 4 + next(places), box["y"] + 112)
        return bool(tip.is_visible())

    assert _until(tab, told)
    row = tip.locator("tr").first
    key, value = (row.locator(f"td.{name}").bounding_box() for name in ("key", "value"))
    assert key["y"] == value["y"]
    assert key["x"] + key["width"] <= value["x"] + 1


def test_keyboard_moves_cursor_and_window(tab: Any) -> None:
    chart = tab.locator("#chart-timeline")
    chart.focus()
    tab.keyboard.press("ArrowRight")
    first = tab.locator(".readout b").inner_text()
    tab.keyboard.press("ArrowRight")
    assert _until(tab, lambda: tab.locator(".readout b").inner_text() != first)
    before = _all_panels(tab)
    chart.focus()
    tab.keyboard.press("+")
    assert _until(tab, lambda: _differ(before, _all_panels(tab)))
    near = _at_rest(tab)
    chart.focus()
    tab.keyboard.press("Shift+ArrowRight")
    assert _until(tab, lambda: _all_panels(tab) != near)
    chart.focus()
    tab.keyboard.press("0")
    tab.locator(".readout").wait_for(state="hidden")


def test_alert_is_a_link_into_the_timeline_by_keyboard_too(tab: Any) -> None:
    link = tab.locator("#alerts ~ div a").nth(1)
    assert link.inner_text() == "00:01:40.0"
    link.focus()
    tab.keyboard.press("Enter")
    _wait(tab, "document.activeElement.id === 'chart-timeline'")
    tab.locator(".readout").wait_for(state="visible")
    told = tab.locator(".readout").inner_text()
    assert told.startswith("100 s")
    assert "spike alert: step 200" in told


def test_everything_that_can_be_used_is_reached_with_tab_and_details_open(tab: Any) -> None:
    reached = set()
    for _ in range(80):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.tagName + (document.activeElement.id || '')"))
    assert {"DIVchart-timeline", "SELECTlag-pair", "SUMMARY", "BUTTON", "A"} <= reached
    summary = tab.locator("summary", has_text="References")
    summary.focus()
    tab.keyboard.press("Enter")
    assert tab.get_by_text("Freedman & Lane (1983)").is_visible()


def test_another_pair_changes_its_three_charts(tab: Any) -> None:
    tab.locator("summary", has_text="How long each signal remembers").click()
    _wait(tab, "document.querySelector('#chart-memory').dataset.drawn")
    ids = ("#chart-lag", "#chart-cross", "#chart-memory")
    before = [tab.locator(name).screenshot() for name in ids]
    tab.locator("#lag-pair").select_option("1")
    assert _until(tab, lambda: _differ(before, [tab.locator(name).screenshot() for name in ids]))


def test_dark_and_light_follow_the_reader_while_the_page_is_open(tab: Any) -> None:
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.emulate_media(color_scheme="dark")
    _wait(tab, "document.querySelector('#chart-timeline').dataset.drawn === 'dark'")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert tab.evaluate("document.querySelectorAll('#chart-timeline canvas').length") == 1


def test_nothing_scrolls_sideways_on_a_narrow_screen(tab: Any) -> None:
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide = (
        "Array.from(document.querySelectorAll('main *'))"
        ".map(e => [e, e.getBoundingClientRect()]).filter(([e, at]) => at.right > innerWidth + 1 && at.width"
        " && !e.closest('.chart')).map(([e]) => e)"
        ".map(e => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 40))"
    )
    scrolled = (
        "Array.from(document.querySelectorAll('.scroll')).filter(e => e.scrollWidth > e.clientWidth + 1)"
    )

    def narrowed(width: int) -> bool:
        return bool(tab.evaluate("document.documentElement.scrollWidth") <= width)

    for width in (768, 400, 360):
        tab.set_viewport_size({"width": width, "height": 800})
        assert _until(tab, functools.partial(narrowed, width)), width
        assert tab.evaluate(wide) == [], width
        assert _until(tab, lambda: tab.evaluate(f"{scrolled}.length") == 0), width


def test_print_shows_stills_instead_of_charts(tab: Any) -> None:
    tab.emulate_media(media="print")
    assert tab.locator("#chart-timeline").is_hidden()
    assert tab.locator("img.still").first.is_visible()
    assert tab.locator("button").first.is_hidden()


def test_page_without_pictures_prints_its_charts_and_tells_of_them_without_scripts(
    browser: Any, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    alone = write_report(run, analyze_run(run), figures=False)["report"]
    page = browser.new_page()
    page.goto(alone.as_uri())
    _wait(page, _DRAWN)
    assert page.locator(".unpictured").first.is_hidden()
    page.emulate_media(media="print")
    assert page.locator("#chart-timeline canvas").is_visible()
    assert page.locator(".unpictured").first.is_hidden()
    page.close()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(alone.as_uri())
    assert page.locator("#chart-timeline").is_hidden()
    assert page.locator(".unpictured").first.is_visible()
    context.close()


def test_print_opens_what_is_folded_and_folds_it_again(tab: Any) -> None:
    folded = "Array.from(document.querySelectorAll('details')).filter(each => !each.open).length"
    before = tab.evaluate(folded)
    assert before > 0
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(folded) == 0
    assert tab.get_by_text("Freedman & Lane (1983)").is_visible()
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(folded) == before


def test_page_is_whole_without_scripts(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("img.still").count() == 4
    assert page.locator("img.still").first.is_visible()
    assert page.locator("#chart-timeline").is_hidden()
    page.locator("nav.contents summary").click()
    page.locator("nav.contents a", has_text="Energy").click()
    assert page.url.endswith("#energy")
    context.close()


def _within(page: Any, selector: str) -> bool:
    """Say whether all of an element can be seen without scrolling."""
    return bool(
        page.evaluate(
            "s => { const at = document.querySelector(s).getBoundingClientRect();"
            " return at.height > 0 && at.top >= 0 && at.bottom <= innerHeight; }",
            selector,
        )
    )


@pytest.fixture(scope="module")
def slow_report(slow_run: Run, slow_analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(slow_run, slow_analysis, tmp_path_factory.mktemp("slow"))["report"]


def test_the_first_screen_holds_verdict_facts_and_four_panels(browser: Any, slow_report: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(slow_report.as_uri())
    _wait(tab, _DRAWN)
    assert _within(tab, ".first .sentence")
    assert _within(tab, ".first .three")
    said, seen = (tab.locator(name).bounding_box() for name in (".first .said", "#chart-timeline"))
    assert said["x"] + said["width"] <= seen["x"]
    assert seen["y"] + 4 * 128 <= 800
    tab.set_viewport_size({"width": 390, "height": 844})
    said, seen = (tab.locator(name).bounding_box() for name in (".first .said", "#chart-timeline"))
    assert said["y"] + said["height"] <= seen["y"]
    tab.close()


def test_the_contents_follow_and_mark_the_part_that_is_read(tab: Any) -> None:
    marked = tab.locator("nav.contents [aria-current]")
    assert marked.inner_text() == "Verdict"
    tab.locator("nav.contents a", has_text="Tests").click()
    assert _until(tab, lambda: marked.all_inner_texts() == ["Tests"])
    assert _within(tab, "#tests")
    assert _within(tab, "nav.contents")
    tab.set_viewport_size({"width": 390, "height": 844})
    assert _until(tab, lambda: tab.locator("nav.contents ul").is_hidden())
    assert tab.locator("nav.contents summary").inner_text().startswith("Parts of this page: ")
    tab.locator("nav.contents summary").click()
    tab.locator("nav.contents a", has_text="Energy").click()
    assert _until(tab, lambda: tab.locator("nav.contents summary").inner_text().endswith(": Energy"))


def _grave(page: Any) -> list[str]:
    """Return what axe finds that is serious or critical, or of headings and landmarks, light and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe (extra dev) is missing")
    found: list[str] = []
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        _wait(page, _DRAWN)
        for each in axe.Axe().run(page).response["violations"]:
            if each["impact"] in ("serious", "critical") or each["id"] in ("heading-order", "region"):
                found += [f"{scheme} {each['id']}: {node['html'][:160]}" for node in each["nodes"]]
    return found


def test_report_is_accessible_light_and_dark(tab: Any) -> None:
    assert _grave(tab) == []
    unnamed = "Array.from(document.querySelectorAll('table:not(#vg-tooltip-element table)'))"
    assert tab.evaluate(f"{unnamed}.filter(each => !each.caption).length") == 0


def test_comparison_is_drawn_silently_and_fits_a_narrow_screen(browser: Any, tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"{_HOSTILE} {seed}", spikes=[100], seed=seed) for seed in (1, 2)]
    path = write_comparison(compare_runs(runs), tmp_path / "out")["report"]
    page = browser.new_page(viewport={"width": 390, "height": 900})
    said, asked = _listened(page)
    page.goto(path.as_uri())
    _wait(page, _DRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.hit") is None
    assert _grave(page) == []
    page.close()
    assert said == []
    assert asked == [path.as_uri()]


def test_zooming_one_overlay_zooms_the_others_and_reads_them_out(browser: Any, tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"run {seed}", spikes=[100], seed=seed) for seed in (1, 2)]
    path = write_comparison(compare_runs(runs), tmp_path / "out")["report"]
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said, _ = _listened(page)
    page.goto(path.as_uri())
    _wait(page, _DRAWN)
    chart = page.locator("#chart-overlays")

    def panels() -> list[bytes]:
        page.mouse.move(2, 2)
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        clips = ({"x": box["x"], "y": box["y"] + top, "width": 1000, "height": 110} for top in (8, 140, 404))
        return [page.screenshot(clip=clip) for clip in clips]

    before = panels()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 500, box["y"] + 190)  # over the loss
    chart.locator(".readout").wait_for(state="visible")
    told = chart.locator(".readout").inner_text()
    assert {"gradient norm, run 1", "gradient norm, run 2", "loss, run 1", "temperature, run 2"} <= set(
        re.findall(r"^[a-z ]+, run \d", told, re.MULTILINE)
    )
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Shift")
    assert _until(page, lambda: _differ(before, panels()))
    page.get_by_role("button", name="Whole range").last.click()
    assert _until(page, lambda: panels() == before)
    page.get_by_role("button", name="Zoom in").last.click()
    assert _until(page, lambda: _differ(before, panels()))
    chart.focus()
    page.keyboard.press("0")
    page.evaluate("document.activeElement.blur()")  # its outline is in the picture
    assert _until(page, lambda: panels() == before)
    page.close()
    assert said == []


def test_empty_run_makes_a_silent_page(browser: Any, tmp_path: Path) -> None:
    run = create_run(tmp_path, "empty")
    path = write_report(run, analyze_run(run))["report"]
    page = browser.new_page()
    said, asked = _listened(page)
    page.goto(path.as_uri())
    assert page.get_by_text("no training step was recorded in this run").count() == 2
    page.close()
    assert said == []
    assert asked == [path.as_uri()]


def test_slow_answers_stand_beside_the_lags_and_below_them_where_it_is_narrow(
    browser: Any, slow_report: Path
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said, _ = _listened(page)
    page.goto(slow_report.as_uri())
    _wait(page, _DRAWN)
    chart = page.locator("#chart-lag")
    beside = chart.bounding_box()["height"]
    page.set_viewport_size({"width": 390, "height": 800})
    assert _until(page, lambda: chart.bounding_box()["height"] > 1.6 * beside)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert said == []
