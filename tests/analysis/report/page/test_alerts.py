"""The share of a run that was throttled and the share of an episode in which alerts stood are told apart."""

import re
from pathlib import Path

import pytest
from report_page import page_of
from scale_runs import scale_run
from thermograd.analysis.run.analyze import analyze_run
from thermograd.store.runs.describe import describe_run, run_facts_shown

_NOT_THE_SAME = "That is not the throttled time, which What heat cost has"


@pytest.mark.parametrize("ended", [True, False])
def test_alerting_is_named_beside_the_throttled_time_where_both_are_told(tmp_path: Path, ended: bool) -> None:
    run = scale_run(tmp_path, 4, 86_400.0, 600, 600, alerts=100, ended=ended)
    page, shown = page_of(run, analyze_run(run, "grad_norm", "temperature_c")), run_facts_shown(run)
    assert (_NOT_THE_SAME in page.text) is ended
    assert ('data-label="Alerting"' in page.source) is ended
    assert "Share of time" not in page.text
    text = describe_run(shown)
    assert ("alerting for" in text) is ended
    assert ("the throttled time is under What heat cost" in text) is ended


def test_times_of_a_run_of_days_have_days_and_slow_sampling_its_period(tmp_path: Path) -> None:
    days = scale_run(tmp_path, 4, 5 * 86_400.0, 600, 600, alerts=5, ended=False, name="days")
    hours = scale_run(tmp_path, 4, 86_400.0, 8640 * 2, 600, alerts=2, name="hours")
    long, short = (page_of(run, analyze_run(run, "grad_norm", "temperature_c")) for run in (days, hours))
    days_and_clock = r">\d d \d\d:\d\d:\d\d<"
    assert re.search(days_and_clock, long.source)
    assert not re.search(days_and_clock, short.source)
    assert "samples, one every 12 min, of 5 devices" in long.text
    assert "samples at 0.2 Hz of 5 devices" in short.text
