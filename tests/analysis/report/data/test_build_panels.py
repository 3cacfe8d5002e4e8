"""Panels of long, short and crowded runs: no alert and no extreme is lost, and what is left out is told."""

from pathlib import Path

import altair as alt
import numpy as np
import pytest
from synthetic import START_NS, make_run
from thermograd.analysis.report.charts.pairs import cross_chart, lag_chart, memory_chart
from thermograd.analysis.report.charts.timeline import folded_chart, panels_chart
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.curves import decimate, make_line
from thermograd.analysis.report.data.evidence import lag_pairs, pair_evidence
from thermograd.analysis.report.data.panel import Panels, clock_for
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_SECOND = 10**9


def _panels(run: Run) -> Panels:
    return build_panels(load_series(run))


def _panel(panels: Panels, key: str):
    return next(panel for panel in panels.panels if panel.key == key)


# -- thinning --------------------------------------------------------------------------------------


def test_every_alert_keeps_its_point_however_many_share_a_stretch_of_time() -> None:
    """Two spikes in one pixel: the lower one is no extreme of its stretch, and must stay all the same."""
    rng = np.random.default_rng(3)
    time_s, values = np.arange(100_000) / 10, rng.normal(size=100_000)
    spikes = rng.choice(100_000, 400, replace=False)
    values[spikes] += rng.uniform(5, 50, size=400)
    line = make_line("norm", None, time_s, values, 800, time_s[spikes])
    shown = dict(zip(line.time_s.tolist(), line.values.tolist(), strict=True))
    assert all(shown.get(time_s[at]) == values[at] for at in spikes)
    assert (line.lowest, line.highest) == (values.min(), values.max())
    assert line.shown < 2 * 800 + 400 + 3
    assert line.total == 100_000


def test_a_time_between_two_points_keeps_the_nearer_one_and_the_earlier_on_a_tie() -> None:
    time_s = np.arange(10_000.0)
    line = make_line("a", None, time_s, np.zeros(10_000), 10, np.array([4000.4, 5000.5, -3.0, 20_000.0]))
    assert {4000.0, 5000.0, 0.0, 9999.0} <= set(line.time_s.tolist())
    assert 5001.0 not in line.time_s


@pytest.mark.parametrize(
    "values",
    [
        np.full(5000, np.nan),
        np.where(np.arange(5000) == 2500, 7.0, np.nan),
        np.where(np.arange(5000) % 7 == 0, np.inf, 1.0),
        np.zeros(5000),
    ],
    ids=["NaN only", "one value", "infinities", "constant"],
)
def test_thinning_stands_values_that_are_no_numbers(values: np.ndarray) -> None:
    kept = decimate(np.arange(5000.0), values, 100)
    finite = values[np.isfinite(values)]
    chosen = values[kept][np.isfinite(values[kept])]
    assert kept.size <= 400
    assert (np.diff(kept) > 0).all()
    if finite.size:
        assert (chosen.min(), chosen.max()) == (finite.min(), finite.max())
    if not np.isfinite(values).all():
        assert not np.isfinite(values[kept]).all()


def test_points_at_one_time_or_crowded_at_the_ends_are_thinned_too() -> None:
    rng = np.random.default_rng(0)
    for time_s in (np.zeros(3000), np.repeat([0.0, 1.0, 1e6], 1000)):
        values = rng.normal(size=3000)
        kept = decimate(time_s, values, 50)
        assert (values[kept].min(), values[kept].max()) == (values.min(), values.max())
        assert kept.size <= 110


def test_thinned_panels_keep_every_extreme(tmp_path: Path) -> None:
    panels = _panels(make_run(tmp_path, steps=3000, seconds=1500.0, spikes=[1000]))
    thin = panels.thinned(50)
    for full, small in zip(panels.panels, thin.panels, strict=True):
        for before, after in zip(full.lines, small.lines, strict=True):
            assert after.time_s.size <= 110
            assert (after.lowest, after.highest) == (before.lowest, before.highest)


# -- what is shown ---------------------------------------------------------------------------------


def test_full_range_and_counts_of_a_thinned_curve_are_stated(tmp_path: Path) -> None:
    panel = _panel(_panels(make_run(tmp_path, steps=4000, seconds=400.0, with_samples=False)), "loss")
    low, high = panel.lines[0].lowest, panel.lines[0].highest
    note = next(note for note in panel.notes if "every extreme kept" in note)
    assert "of 4,000 points" in note
    assert f"they range from {low:.6g} to {high:.6g}" in note


def test_power_clock_and_throttled_time_have_panels_where_they_are_measured(tmp_path: Path) -> None:
    run = create_run(tmp_path, "gpu", {"devices": {"gpu": {"missing": {"fan_pct": "none"}}}})
    writer = EventWriter(run.path, run.run_id, "writer")
    for i in range(30):
        readings = {"power_w": 100.0 + i, "sm_clock_mhz": 1400.0, "throttled_thermal_ns": i * _SECOND // 2}
        writer.append("sample", START_NS + i * _SECOND, device="gpu", **readings)
    writer.close()
    panels = _panels(run)
    assert _panel(panels, "power_w").lines[0].highest == 129.0
    assert _panel(panels, "sm_clock_mhz").unit == "MHz"
    assert _panel(panels, "throttled_ratio").lines[0].values.tolist() == pytest.approx([0.5] * 29)
    assert _panel(panels, "temperature_c").reason == "gpu: no temperature, its readings hold none."
    assert [panel.key for panel in panels.printed] == ["loss", "grad_norm", "power_w", "sm_clock_mhz"]


def test_throttling_that_comes_and_goes_all_day_is_drawn_as_its_share(tmp_path: Path) -> None:
    run = create_run(tmp_path, "day", {"devices": {"gpu": {}}})
    writer, counter_ns = EventWriter(run.path, run.run_id, "a"), 0
    for i in range(4000):  # on for three of ten seconds, in the second half for six
        counter_ns += _SECOND * (i % 10 < (3 if i < 2000 else 6))
        writer.append("sample", i * _SECOND, 0, device="gpu", throttled_thermal_ns=counter_ns)
    writer.close()
    panel = _panel(build_panels(load_series(run)), "throttled_ratio")
    values = panel.lines[0].values
    assert values[1:190] == pytest.approx(0.3, abs=0.06)
    assert values[-190:] == pytest.approx(0.6, abs=0.06)
    assert "drawn as the share of each" in " ".join(panel.notes)


def test_alerts_stand_on_a_strip_in_time_order(tmp_path: Path) -> None:
    panels = _panels(make_run(tmp_path, spikes=[100, 200], collapse_s=75.0))
    assert [(tick.name, tick.severity, tick.time_s) for tick in panels.alerts] == [
        ("spike.grad", "warning", 50.0),
        ("collapse.thermal", "critical", 75.0),
        ("spike.grad", "warning", 100.0),
    ]
    spec = panels_chart(panels)
    assert spec is not None
    assert [row["t"] for row in spec["datasets"]["alerts-warning"]] == [50.0, 100.0]


def test_more_alerts_than_can_be_told_apart_are_a_strip_that_counts_them_and_the_highest_stays(
    tmp_path: Path,
) -> None:
    run = create_run(tmp_path, "noisy")
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=8192)
    for step in range(1, 6001):
        time_ns = START_NS + step * _SECOND
        value = 1000.0 if step == 3333 else 2.0
        told = {"step": step, "value": value, "onset_time_ns": time_ns, "message": f"step {step}"}
        writer.append("step", time_ns, step=step, grad_norm=value)
        writer.append("alert", time_ns, alert="spike.grad", severity="warning", **told)
    writer.close()
    panels = _panels(run)
    norm = _panel(panels, "grad_norm")
    assert len(norm.marks) <= 8
    assert max(mark.value or 0.0 for mark in norm.marks) == norm.lines[0].highest == 1000.0
    (strip,) = norm.strips
    assert (strip.kind, strip.count.sum(), strip.count.size) == ("spike", 6000, 120)
    assert sum(tick.events for tick in panels.alerts) == 6000
    assert len(panels.alerts) == 120


@pytest.mark.parametrize(
    ("span_s", "symbol"),
    [(0.0, "s"), (300.0, "s"), (301.0, "min"), (10_800.0, "min"), (86_400.0, "h"), (604_800.0, "d")],
)
def test_time_is_written_in_a_unit_that_fits(span_s: float, symbol: str) -> None:
    assert clock_for(span_s).symbol == symbol


def test_long_run_is_drawn_in_hours(tmp_path: Path) -> None:
    panels = _panels(make_run(tmp_path, steps=50, seconds=36_000.0, with_samples=False))
    spec = panels_chart(panels)
    assert spec is not None
    assert spec["datasets"]["loss"][-1]["t"] == pytest.approx(10.0 - 0.2)
    assert spec["usermeta"]["cursor"]["unit_s"] == 3600.0


# -- what altair would refuse ----------------------------------------------------------------------


def test_specifications_made_without_checks_are_valid_vega_lite(tmp_path: Path) -> None:
    """Pieces are plain dictionaries, which nothing checks as they are made; so the whole is checked here."""
    run = make_run(tmp_path, spikes=[100], injections=[200], collapse_s=120.0, zeros=[50], nan=[60])
    data, analysis = load_series(run), analyze_run(run)
    pairs = lag_pairs(analysis)
    evidence = [found for k in range(2) if (found := pair_evidence(analysis.compared, k, pairs[k][1]))]
    for chart in (panels_chart(build_panels(data)), folded_chart(build_panels(data))):
        assert chart is not None
        alt.VConcatChart.from_dict(chart)
    for chart, kind in (
        (lag_chart(pairs), alt.LayerChart),
        (cross_chart(evidence), alt.ConcatChart),
        (memory_chart(evidence), alt.ConcatChart),
    ):
        assert chart is not None
        kind.from_dict(chart)
