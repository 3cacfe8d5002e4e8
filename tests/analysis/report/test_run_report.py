"""The report says the verdict first, shows what is there, and says why the rest is not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_page import Page, page_of
from simulated_runs import simulated, slow_answer
from synthetic import START_NS, make_run
from thermograd.analysis.display.markup import typeset
from thermograd.analysis.report.page import document as page_module
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.report.text.analysis import describe_analysis
from thermograd.analysis.report.text.markdown import report_markdown
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis, verdict_sentence
from thermograd.analysis.run.series import load_series
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.store.errors import LogError, MissingExtraError
from thermograd.store.events import SETTINGS_MARK
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

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
    monkeypatch.setattr(page_module, "find_spec", lambda name: None if name == "vl_convert" else object())
    with pytest.raises(MissingExtraError, match=r"needs vl-convert-python: install thermograd\[report\]"):
        write_report(full, analysis)


def test_page_alone_has_the_same_charts_and_no_picture_of_any(
    full: Run, analysis: Analysis, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None if name == "matplotlib" else object())
    paths = write_report(full, analysis, tmp_path, data_format="csv", figures=False)
    assert {name for name in paths if not name.startswith("data_")} == {"report", "analysis"}
    alone = Page(paths["report"].read_text())
    for name in ("timeline", "lag", "cross", "memory"):
        assert alone.data(f"data-{name}") == page.data(f"data-{name}")
    assert page.of("img")
    assert not alone.of("img")
    assert alone.text.count("A script draws it: the page was made without pictures") == len(page.of("img"))


def test_script_bundle_is_kept_and_a_torn_one_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    made: list[str] = []

    def bundle(snippet: str) -> str:
        made.append(snippet)
        return "var x = '</script>';"

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    monkeypatch.setattr(page_module, "cache_dir", lambda: cache / "own")
    page_module.vega_bundle.cache_clear()
    first = page_module.vega_bundle()
    page_module.vega_bundle.cache_clear()
    assert page_module.vega_bundle() == first
    assert len(made) == 1
    assert "</script" not in first
    kept = next((cache / "own").iterdir())
    kept.write_text(first[:10])
    page_module.vega_bundle.cache_clear()
    assert page_module.vega_bundle() == first
    assert len(made) == 2
    page_module.vega_bundle.cache_clear()


def test_report_works_without_a_place_to_keep_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vl_convert

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: "1;")
    monkeypatch.setattr(page_module, "cache_dir", lambda: tmp_path / "file" / "below")
    page_module.vega_bundle.cache_clear()
    assert page_module.vega_bundle().startswith("1;")
    page_module.vega_bundle.cache_clear()


# -- what it says ----------------------------------------------------------------------------------


def test_verdict_comes_first_in_plain_words_then_the_panels_then_its_numbers(
    page: Page, analysis: Analysis
) -> None:
    places = [
        page.text.rindex(text) if text.startswith("Which numbers") else page.text.index(text)
        for text in (
            first_screen(analysis).sentence,
            "How sure",
            "How long",
            "What next",
            "Training and hardware on one clock",
            "Which numbers it stands on",
            typeset(verdict_sentence(analysis)),
            "What it does not say",
            "Does not measure",
            "Naive r",
        )
    ]
    assert places == sorted(places)
    assert "only an intervention can" in page.text


def test_simulated_hardware_is_labelled(page: Page) -> None:
    assert "SIMULATED hardware: GPU 0 (Test GPU, simulated)" in page.text
    assert "Anything about real hardware" in page.text


def test_sensors_that_do_not_exist_are_named_with_the_reason(page: Page) -> None:
    assert "power_w: no power sensor" in page.text
    assert "Temperature: cpu (Test CPU): no temperature, no sensor in a virtual machine." in page.text


def test_both_kinds_of_coupling_are_listed_apart(page: Page, analysis: Analysis) -> None:
    question, speed = page.text.index("Optimisation coupling"), page.text.index("Speed coupling: expected")
    assert question < page.text.index("grad_norm", question) < speed
    assert speed < page.text.index("step_time_s", speed)
    assert f"All {sum(not p.is_speed for p in analysis.pairs)} tests" in page.text


def test_controls_stand_beside_the_naive_number(page: Page, analysis: Analysis) -> None:
    shown = f"{analysis.controls['GPU-0']['temperature_c']['time']:+.2f}".replace("-", "−")
    assert shown in page.text[page.text.index("Why the naive number misleads") :]


def test_alerts_and_accounts_are_told(page: Page) -> None:
    assert "00:02:00.0–criticalcollapse.thermal1" in page.text
    assert "too hot" in page.text
    assert re.search(r"step \d+: grad_norm", page.text)
    assert "3 events later than the stream layer waits" in page.text
    assert "300 of 300 steps have a sample within 1 s" in page.text


def test_rows_that_a_narrow_screen_stacks_name_their_cells(page: Page) -> None:
    labels = [cell["data-label"] for cell in page.of("td") if "data-label" in cell]
    assert {"Device", "Samples", "Severity", "Worst"} <= set(labels)


def test_report_can_be_passed_on_without_host_paths_and_arguments(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, facts={"host": "secret-host", "argv": ["train.py", "--token=secret"]})
    assert "secret" not in page_of(run).text
    assert str(tmp_path) not in page_of(run).text


def test_alerts_that_repeat_are_one_row_with_their_number_and_their_worst(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=400, spikes=range(1, 350), collapse_s=10.0)
    page = page_of(run)
    table = page.text[page.text.index("SinceForSeverity") :]
    assert table.count("spike.grad") == 1
    assert "349" in table
    assert "350 alerts: what repeats without half an hour of quiet between is one row." in page.text
    assert "too hot" in table
    assert f"thermograd show {run.run_id} --alerts" in page.text


def test_of_sixty_four_devices_a_kind_is_one_row_and_each_opens_on_demand(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=40)
    writer = EventWriter(run.path, run.run_id, "other")
    for device in range(64):
        for second in (1, 5):
            alert = {"alert": "collapse.thermal", "severity": "critical", "message": f"gpu {device} is hot"}
            writer.append("alert", START_NS + second * 10**9, device=f"gpu {device}", **alert)
    writer.close()
    text = page_of(run).text
    shown = text[text.index("SinceForSeverity") : text.index("Each device and each time apart (64)")]
    assert "collapse.thermal12864 devices" in shown
    assert "12 times" not in shown


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
    text = page_of(run).text
    assert "gap at 00:00:01: 2 events could not be written" in text
    assert "1 row left out: end-of-training summary." in text
    assert "2 rows came out of order in time." in text
    assert "nothing watched this run" in text
    assert f"thermograd replay {run.run_id} --check" not in text


def test_that_no_alert_was_raised_is_said_only_where_something_watched(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5)
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("mark", START_NS, mark="note", text=SETTINGS_MARK)
    writer.close()
    text = page_of(run).text
    assert "None was raised." in text
    assert "2 devices, 0 alerts" in text
    assert f"thermograd replay {run.run_id} --check" in text


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
    text = page_of(full, analyze_run(full, method="pearson")).text
    assert "Naive Pearson correlations of raw values, for comparison only" in text
    assert "No lag profile" in text


# -- slow answers ----------------------------------------------------------------------------------


def test_a_slow_answer_is_told_by_its_memory_everywhere(slow_run: Run, slow_analysis: Analysis) -> None:
    memory = f"memory {slow_answer(slow_analysis).memory_s:g} s"
    page, text = page_of(slow_run, slow_analysis), describe_analysis(slow_analysis)
    markdown = report_markdown(load_series(slow_run), slow_analysis)
    for told in (page.text, text, markdown):
        assert "follows gradient norm with a memory of about" in told.replace("\u00a0", " ")
        assert memory in told.replace("\u00a0", " ")
    assert "fade over up to 48 s" in " ".join(page.text.split())
    assert len(page.data("data-lag")["concat"]) == 2


def test_what_the_readings_show_is_said_once_on_page_and_in_text(tmp_path: Path) -> None:
    run = simulated(tmp_path, "cycle24-unlogged", minutes=12)
    analysis = analyze_run(run, "grad_norm", "temperature_c")
    (rhythm,) = [line for line in analysis.recognised if "A rhythm of 24 s that nobody logged" in line]
    for told in (page_of(run, analysis).text, describe_analysis(analysis)):
        assert told.count(rhythm) == 1
    assert rhythm in analysis.to_json()["recognised"]
