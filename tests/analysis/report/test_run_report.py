"""The report says the verdict first, shows what is there, says why the rest is not, and is safe to open."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic import START_NS, make_run
from thermograd.analysis.display.markup import typeset
from thermograd.analysis.report.charts.pairs import lag_chart
from thermograd.analysis.report.charts.style import theme
from thermograd.analysis.report.charts.timeline import panels_chart
from thermograd.analysis.report.data.evidence import lag_pairs
from thermograd.analysis.report.data.panels import build_panels
from thermograd.analysis.report.page import document as page_module
from thermograd.analysis.report.run_report import prepare, report_page, write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis, verdict_sentence
from thermograd.analysis.run.series import load_series
from thermograd.store.errors import LogError, MissingExtraError
from thermograd.store.events import SETTINGS_MARK
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'\u2028<!--"


class Page(HTMLParser):
    """What a browser would see: text, elements, scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._raw = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._raw != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self, name: str) -> Any:
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)

    @property
    def code(self) -> list[str]:
        return [text for attributes, text in self.scripts if attributes.get("type") != "application/json"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the script bundle of these tests out of the user's cache."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "_cache_dir", lambda: directory)
        page_module._bundle.cache_clear()
        yield directory
    page_module._bundle.cache_clear()


def _page(run: Run, analysis: Analysis | None = None) -> Page:
    contents = prepare(load_series(run), analysis or analyze_run(run))
    images = dict.fromkeys(("timeline", "lag", "cross", "memory", "spikes"), b"<svg/>")
    return Page(report_page(contents, images))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(
        tmp_path_factory.mktemp("runs"), spikes=[100, 200], injections=[200], collapse_s=120.0, simulated=True
    )


@pytest.fixture(scope="module")
def analysis(full: Run) -> Analysis:
    return analyze_run(full)


@pytest.fixture(scope="module")
def page(full: Run, analysis: Analysis) -> Page:
    return _page(full, analysis)


# -- files -----------------------------------------------------------------------------------------


def test_report_writes_page_figures_and_numbers_into_the_run_or_where_told(
    full: Run, analysis: Analysis, tmp_path: Path
) -> None:
    paths = write_report(full, analysis)
    assert {name: path.relative_to(full.path / "report").name for name, path in paths.items()} == {
        "report": "report.html",
        "png": "figure.png",
        "pdf": "figure.pdf",
        "svg": "figure.svg",
        "lag_png": "lag_profile.png",
        "lag_pdf": "lag_profile.pdf",
        "lag_svg": "lag_profile.svg",
        "analysis": "analysis.json",
    }
    assert json.loads(paths["analysis"].read_text())["run_id"] == full.run_id
    assert paths["png"].read_bytes().startswith(b"\x89PNG")
    assert paths["pdf"].read_bytes().startswith(b"%PDF")
    assert paths["report"].stat().st_size < 2_000_000
    elsewhere = write_report(full, analysis, tmp_path / "new" / "place")
    assert {path.parent for path in elsewhere.values()} == {tmp_path / "new" / "place"}
    assert not [path for path in (tmp_path / "new" / "place").iterdir() if path.name.startswith(".")]


def test_directory_that_cannot_be_written_is_one_clear_error(
    full: Run, analysis: Analysis, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(LogError, match="cannot write the report to .*taken"):
        write_report(full, analysis, tmp_path / "taken")


def test_missing_package_says_what_to_install(
    full: Run, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None if name == "altair" else object())
    with pytest.raises(MissingExtraError, match=r"needs altair: install thermograd\[report\]"):
        write_report(full, analysis)


def test_script_bundle_is_kept_and_a_torn_one_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    made: list[str] = []

    def bundle(snippet: str) -> str:
        made.append(snippet)
        return "var x = '</script>';"

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    monkeypatch.setattr(page_module, "_cache_dir", lambda: cache / "own")
    page_module._bundle.cache_clear()
    first = page_module._bundle()
    page_module._bundle.cache_clear()
    assert page_module._bundle() == first
    assert len(made) == 1
    assert "</script" not in first
    kept = next((cache / "own").iterdir())
    kept.write_text(first[:10])
    page_module._bundle.cache_clear()
    assert page_module._bundle() == first
    assert len(made) == 2
    page_module._bundle.cache_clear()


def test_report_works_without_a_place_to_keep_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: "1;")
    monkeypatch.setattr(page_module, "_cache_dir", lambda: tmp_path / "file" / "below")
    page_module._bundle.cache_clear()
    assert page_module._bundle().startswith("1;")
    page_module._bundle.cache_clear()


# -- what it says ----------------------------------------------------------------------------------


def test_verdict_comes_first_then_how_sure_and_what_it_does_not_say(page: Page, analysis: Analysis) -> None:
    places = [
        page.text.index(text)
        for text in (
            typeset(verdict_sentence(analysis)),
            "How sure",
            "What it does not say",
            "Test GPU",
            "Naive r",
        )
    ]
    assert places == sorted(places)
    assert "only an intervention can" in page.text


def test_simulated_hardware_is_labelled(page: Page) -> None:
    assert "SIMULATED hardware: GPU-0 (simulated)" in page.text
    assert "Anything about real hardware" in page.text


def test_sensors_that_do_not_exist_are_named_with_the_reason(page: Page) -> None:
    assert "power_w: no power sensor" in page.text
    assert "Temperature: cpu: no temperature, no sensor in a virtual machine." in page.text


def test_both_kinds_of_coupling_are_listed_apart(page: Page, analysis: Analysis) -> None:
    question, speed = page.text.index("Optimisation coupling"), page.text.index("Speed coupling: expected")
    assert question < page.text.index("grad_norm", question) < speed
    assert speed < page.text.index("step_time_s", speed)
    assert f"All {sum(not p.is_speed for p in analysis.pairs)} tests" in page.text


def test_controls_stand_beside_the_naive_number(page: Page, analysis: Analysis) -> None:
    shown = f"{analysis.controls['GPU-0']['temperature_c']['time']:+.2f}".replace("-", "−")
    assert shown in page.text[page.text.index("Why the naive number misleads") :]


def test_alerts_and_accounts_are_told(page: Page) -> None:
    assert "120.00criticalcollapse.thermal–GPU-0too hot" in page.text
    assert "step 100: grad_norm" in page.text
    assert "3 events later than the stream layer waits" in page.text
    assert "300 of 300 steps have a sample within 1 s" in page.text


def test_rows_that_a_narrow_screen_stacks_name_their_cells(page: Page) -> None:
    labels = [cell["data-label"] for cell in page.of("td") if "data-label" in cell]
    assert {"Device", "Samples", "Severity", "Message"} <= set(labels)


def test_report_can_be_passed_on_without_host_paths_and_arguments(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, facts={"host": "secret-host", "argv": ["train.py", "--token=secret"]})
    assert "secret" not in _page(run).text
    assert str(tmp_path) not in _page(run).text


def test_many_alerts_are_cut_to_the_most_severe_and_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=400, spikes=range(1, 350), collapse_s=10.0)
    text = _page(run).text
    assert "The 300 most severe; 50 more are in the log." in text
    assert "too hot" in text


def test_gaps_and_what_an_import_left_out_are_told(tmp_path: Path) -> None:
    imported = {
        "files": [{"name": "log.csv", "format": "device log"}],
        "left_out": {"end-of-training summary": 1},
        "timezone": "UTC, as given",
        "out_of_order": 2,
    }
    run = make_run(tmp_path, steps=5, facts={"source": "imported", "import": imported})
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("mark", START_NS + 10**9, mark="gap", text="2 events could not be written")
    writer.close()
    text = _page(run).text
    assert "gap at 1.0 s: 2 events could not be written" in text
    assert "1 rows left out: end-of-training summary." in text
    assert "2 rows came out of order in time." in text
    assert "nothing watched this run" in text
    assert f"thermograd replay {run.run_id} --check" not in text


def test_that_no_alert_was_raised_is_said_only_where_something_watched(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5)
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("mark", START_NS, mark="note", text=SETTINGS_MARK)
    writer.close()
    text = _page(run).text
    assert "None was raised." in text
    assert "2 devices, 0 alerts" in text
    assert f"thermograd replay {run.run_id} --check" in text


# -- safe to open ----------------------------------------------------------------------------------


def test_page_loads_nothing(page: Page) -> None:
    loading = ("src", "href", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href")
    addresses = [
        attributes[name] or "" for _, attributes in page.elements for name in loading if name in attributes
    ]
    assert addresses
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert not page.of("link")
    assert not page.of("iframe")
    style = Path(page_module.__file__).parent / "templates/style.css"
    assert not re.search(r"@import|url\(", style.read_text())


def test_policy_forbids_the_network_and_every_script_but_the_pages_own(page: Page) -> None:
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert "default-src 'none'" in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    assert {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.code
    } == allowed
    assert "script-src 'unsafe-inline'" not in policy


def _with_facts_of_devices(run: Run) -> Run:
    facts = run.facts
    for device in facts["devices"].values():
        device |= {
            "model": _HOSTILE,
            "missing": {"fan_pct": _HOSTILE, _HOSTILE: "x"},
            "suspect": {"power_w": _HOSTILE},
        }
    (run.path / "run.json").write_text(json.dumps(facts))
    return Run(run.path)


def test_hostile_names_and_notes_stay_text(tmp_path: Path) -> None:
    facts = {
        "model": {"class": _HOSTILE, "parameters": 1},
        "versions": {"torch": _HOSTILE},
        "devices_absent": {"nvidia": _HOSTILE},
        "python": _HOSTILE,
        "git": {"commit": _HOSTILE},
        "source": "imported",
        "thermograd_version": _HOSTILE,
        "import": {
            "files": [{"name": _HOSTILE, "format": _HOSTILE}],
            "left_out": {_HOSTILE: 1},
            "timezone": _HOSTILE,
        },
    }
    run = make_run(tmp_path, steps=200, name=_HOSTILE, device=f"GPU {_HOSTILE}", collapse_s=5.0, facts=facts)
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("mark", START_NS, mark="injection", step=2, text=_HOSTILE)
    writer.append("mark", START_NS, mark="gap", text=_HOSTILE, detail=_HOSTILE)
    writer.append("mark", START_NS, mark="note", text=_HOSTILE, detail=_HOSTILE)
    writer.append("alert", START_NS, alert=_HOSTILE, severity=_HOSTILE, device=_HOSTILE, message=_HOSTILE)
    reading = {"power_w": 100.0, "utilization_pct": 50.0, "temperature_c": 50.0}
    writer.append("sample", START_NS, device=f"{_HOSTILE} second", **reading)
    writer.close()
    run = _with_facts_of_devices(run)
    hostile, harmless = _page(run), _page(make_run(tmp_path / "other", steps=200))
    assert hostile.code == harmless.code
    assert len(hostile.scripts) == len(harmless.scripts)
    assert len(hostile.of("img")) == len(harmless.of("img"))
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert hostile.text.count(_HOSTILE) > 8
    assert _HOSTILE in json.dumps(hostile.data("data-timeline"), ensure_ascii=False).replace('\\"', '"')
    for attributes, text in hostile.scripts:
        if attributes.get("type") == "application/json":
            assert not set("<>&\u2028\u2029") & set(text)


def test_text_that_is_no_unicode_does_not_stop_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, name="lone \ud800 surrogate and \x00 nul")
    paths = write_report(run, analyze_run(run), tmp_path / "out")
    assert "surrogate" in paths["report"].read_text(encoding="utf-8")


# -- runs that hold little -------------------------------------------------------------------------


def test_empty_run_says_so(tmp_path: Path) -> None:
    run = create_run(tmp_path, "empty")
    text = Page(write_report(run, analyze_run(run))["report"].read_text()).text
    assert "CANNOT TELL" in text
    assert "nothing: the run holds no step and no sample" in text
    assert "Loss: no training step was recorded in this run" in text
    assert "Temperature: no device was sampled in this run" in text
    assert "None recorded: nothing watched this run." in text
    assert "not watched for alerts" not in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"with_samples": False, "steps": 50}, "RLE: no device was sampled in this run"),
        ({"steps": 0, "seconds": 20.0}, "Gradient norm: no training step was recorded in this run"),
        ({"steps": 1, "seconds": 2.0}, "1 step"),
        ({"steps": 40, "nan": range(1, 41)}, "40 steps left out: grad_norm not finite."),
    ],
)
def test_run_without_a_part_has_a_report_that_says_so(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    run = make_run(tmp_path, **options)
    written = write_report(run, analyze_run(run))
    assert expected in Page(written["report"].read_text()).text


def test_naive_method_gives_a_report_without_a_lag_profile(full: Run) -> None:
    text = _page(full, analyze_run(full, method="pearson")).text
    assert "Naive Pearson correlations of raw values, for comparison only" in text
    assert "No lag profile" in text


# -- charts ----------------------------------------------------------------------------------------


def _rows(spec: dict[str, Any], panel: str, column: str) -> list[dict[str, Any]]:
    """Return the rows behind a panel's layers that have a column."""
    view = next(view for view in spec["vconcat"] if _named(view, panel))
    names = {layer["data"]["name"] for layer in view["layer"] if "name" in layer.get("data", {})}
    names |= {view["data"]["name"]} if "data" in view else set()
    return [row for name in sorted(names) for row in spec["datasets"][name] if column in row]


def _named(view: dict[str, Any], panel: str) -> bool:
    return view.get("name") == panel or view.get("description") == panel


def test_chart_shows_spikes_faults_and_collapses(full: Run) -> None:
    spec = panels_chart(build_panels(load_series(full)))
    assert spec is not None
    told = _rows(spec, "Gradient norm", "what")
    assert {row["what"] for row in told} == {
        "spike alert",
        "fault injected on purpose",
        "onset of a collapse",
    }
    spike = next(row for row in told if row["what"] == "spike alert")
    assert spike["t"] == pytest.approx(50.0)
    assert spike["v"] > 20
    assert next(row["t"] for row in told if row["what"] == "onset of a collapse") == pytest.approx(120.0)
    assert {row["what"] for row in _rows(spec, "RLE", "what")} == {"onset of a collapse"}


def test_zoom_is_one_for_all_panels(full: Run) -> None:
    spec = panels_chart(build_panels(load_series(full)))
    assert spec is not None
    zoom = [parameter for parameter in spec["params"] if parameter["name"] == "zoom"]
    assert len(zoom) == 1
    assert zoom[0]["views"] == [view["layer"][0]["name"] for view in spec["vconcat"]]
    assert [name.partition("-")[0] for name in zoom[0]["views"]] == [
        *("loss", "grad_norm", "rle", "temperature_c", "power_w", "alerts")
    ]
    assert zoom[0]["bind"] == "scales"


def test_chart_of_a_run_with_nan_norms_marks_them_at_the_edge(tmp_path: Path) -> None:
    spec = panels_chart(build_panels(load_series(make_run(tmp_path, steps=60, nan=[30, 31]))))
    assert spec is not None
    told = _rows(spec, "Gradient norm", "what")
    assert [(row["what"], row["v"], row["text"]) for row in told] == [
        ("not finite (NaN or inf)", None, "step 30: nan"),
        ("not finite (NaN or inf)", None, "step 31: nan"),
    ]
    values = [row["v"] for row in spec["datasets"]["grad_norm"]]
    assert values.count(None) == 2


def test_lag_profiles_begin_with_the_closest_pair_of_the_question(analysis: Analysis) -> None:
    pairs = lag_pairs(analysis)
    asked = [pair for pair in analysis.pairs if not pair.is_speed and math.isfinite(pair.p_adjusted)]
    lowest = min(pair.p_adjusted for pair in asked)
    assert lowest in [pair.p_adjusted for pair in pairs[0][1]]
    assert {pair.family for pair in pairs[0][1]} == {"forward", "simultaneous", "reverse"}
    assert "(simulated)" in pairs[0][0]


def test_lag_chart_has_a_band_for_each_family_and_flags_what_leaves_it(analysis: Analysis) -> None:
    pairs = lag_pairs(analysis)
    spec = lag_chart(pairs)
    assert spec is not None
    rows = [row for rows in spec["datasets"].values() for row in rows]
    bands = [row for row in rows if "low" in row and row["k"] == 0]
    assert sorted(row["high"] for row in bands) == pytest.approx(
        sorted(pair.half_width for pair in pairs[0][1]), rel=1e-4
    )
    points = [row for row in rows if "outside" in row and row["k"] == 0]
    assert [row["lag"] for row in points] == pytest.approx(pairs[0][1][0].lags_s, rel=1e-4)
    assert all(row["outside"] == (abs(row["r"]) > row["bound"]) for row in points)
    assert lag_chart([]) is None


def test_light_and_dark_style_the_same_things() -> None:
    light, dark = theme("light"), theme("dark")
    assert light.keys() == dark.keys()
    assert light["style"].keys() == dark["style"].keys()
    assert light != dark


def test_empty_ground_of_a_panel_can_be_dragged() -> None:
    """Vega finds only what has a fill or a stroke: without one, zoom works on the lines alone."""
    assert theme("light")["view"]["fill"] == theme("dark")["view"]["fill"] == "transparent"
