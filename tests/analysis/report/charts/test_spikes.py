"""What the hardware does around spikes: found where it was planted, told with n, or said why not."""

from pathlib import Path

import altair as alt
import numpy as np
import pytest
from report_page import page_of
from synthetic import make_run
from thermograd.analysis.report.charts.pairs import spikes_chart
from thermograd.analysis.report.charts.style import image
from thermograd.analysis.report.data.evidence import around_spikes
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_START_NS = 1_750_000_000 * 10**9


def _heated(tmp_path: Path, heat_c: float) -> Run:
    """Write a run of 900 s in which a step spikes now and then and, 3 s later, heats the device for 10 s."""
    rng = np.random.default_rng(1)
    struck = np.zeros(900, dtype=bool)
    struck[np.cumsum(rng.integers(25, 65, size=18)).clip(max=880)] = True
    hot = np.convolve(struck, [0] * 3 + [1] * 10)[:900] > 0
    run = create_run(tmp_path, "heated", {"devices": {"gpu <b>": {"simulated": True}}})
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=4096)
    for k in range(900):
        norm = float(np.exp(0.1 * rng.normal())) * (20.0 if struck[k] else 1.0)
        writer.append("step", _START_NS + k * 10**9, step=k + 1, grad_norm=norm, step_time_s=1.0)
        reading = 60 + 0.01 * k + heat_c * bool(hot[k]) + 0.2 * float(rng.normal())
        writer.append("sample", _START_NS + k * 10**9, device="gpu <b>", temperature_c=reading)
    writer.close()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _heated(tmp_path_factory.mktemp("runs"), 2.0)


@pytest.fixture(scope="module")
def course(run: Run) -> AroundSpikes:
    ((found,), reason) = around_spikes(analyze_run(run))
    assert reason == ""
    return found


def _section(run: Run) -> str:
    """Return what the page says around spikes."""
    page = page_of(run).source
    section: str = page.partition('<h2 id="spikes">')[2].partition("<h2 ")[0]
    return section


def test_planted_heat_is_found_at_its_time_in_degrees(course: AroundSpikes) -> None:
    assert course.offset_s[0] == -6.0
    assert course.offset_s[-1] == 12.0
    by_second = dict(zip(course.offset_s, course.mean, strict=True))
    assert abs(by_second[2.0]) < 0.4
    assert by_second[5.0] == pytest.approx(2.0, abs=0.4)
    assert course.effect_low > 0


def test_chart_and_still_show_the_course_with_its_interval(course: AroundSpikes) -> None:
    spec = spikes_chart([course])
    assert spec is not None
    alt.LayerChart.from_dict(spec)
    rows = spec["datasets"]["course"]
    assert [row["t"] for row in rows] == course.offset_s
    assert all(row["low"] <= row["v"] <= row["high"] for row in rows)
    still = image(spec).decode()
    assert still.startswith("<svg")
    assert "seconds after a spike of the gradient norm" in still
    assert "gpu &lt;b&gt; (simulated)" in still
    assert spikes_chart([]) is None


def test_section_tells_effect_interval_and_n_and_escapes_the_device(run: Run, course: AroundSpikes) -> None:
    html = _section(run)
    assert "°C</td>" in html
    assert f'<td class="n" data-label="n spikes">{course.n_spikes}</td>' in html
    assert "gpu &lt;b&gt; (simulated)" in html
    assert "<b>" not in html


def test_run_without_spikes_says_why_there_is_no_average(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    analysis = analyze_run(run)
    found, reason = around_spikes(analysis)
    assert found == []
    assert "at least 5" in reason
    html = _section(run)
    assert f"No average around spikes. {reason}" in html
    assert "nothing can coincide" in html


def test_runs_that_hold_little_have_no_average(tmp_path: Path) -> None:
    for place, options in enumerate(
        ({"with_samples": False}, {"steps": 0}, {"steps": 1}, {"nan": range(1, 301)})
    ):
        found, reason = around_spikes(analyze_run(make_run(tmp_path / str(place), **options)))
        assert found == []
        assert reason


def test_coincidences_are_told_with_their_counts(tmp_path: Path) -> None:
    html = _section(make_run(tmp_path, spikes=[100, 230], collapse_s=120.0))
    assert "collapses with a spike before them: 1 of 1" in html or "0 of 2 gradient spikes" in html
    assert "nan" not in html
