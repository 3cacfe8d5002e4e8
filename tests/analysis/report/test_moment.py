"""The picture of an alert's moment: from the end of a log that is written, whatever the alert is about."""

import json
import subprocess
import sys

import pytest
from pictures import size_of
from simulated_runs import simulated
from thermograd.analysis.report.moment import moment_png, recent_series
from thermograd.store.log.reader import read_kind

SECOND = 10**9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("runs"), "throttling", minutes=5)


def alert(run, **values):
    last_ns = int(read_kind(run.path, "sample").column("time_ns").to_numpy().max())
    base = {
        "time_ns": last_ns - 60 * SECOND,
        "alert": "spike.grad",
        "severity": "critical",
        "metric": "grad_norm",
    }
    return base | {"device": None, "message": "step 7: grad_norm 9 is 9x the recent level"} | values


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"alert": "collapse.thermal", "device": "simulated:gpu", "metric": "sm_clock_mhz"},
        {"alert": "nonfinite", "metric": "loss", "message": "\x1b[31m" + "x" * 5000},
        {"alert": "of a later version", "device": "gone", "metric": "?", "severity": "?", "message": None},
    ],
)
def test_every_alert_has_a_picture(run, about):
    assert size_of(moment_png(run.path, alert(run, **about))) == (1200, 630, 8, 6)


def test_no_more_is_shown_than_the_time_around(run):
    at = alert(run)["time_ns"]
    data = recent_series(run, alert(run), at - 120 * SECOND, at + 30 * SECOND)
    times = [data.step_time_ns, data.devices["simulated:gpu"].time_ns]
    assert all(at - 120 * SECOND <= series[0] and series[-1] <= at + 30 * SECOND for series in times)
    assert all(series.size > 50 for series in times)


def test_a_run_of_which_nothing_is_known_yet_has_a_picture_that_says_so(run, tmp_path):
    assert size_of(moment_png(tmp_path, alert(run)))[:2] == (1200, 630)


def test_the_process_takes_the_alert_and_writes_the_picture_and_nothing_else(run):
    command = [sys.executable, "-P", "-m", "thermograd.cli", "moment", str(run.path)]
    done = subprocess.run(command, input=json.dumps(alert(run)).encode(), capture_output=True, check=True)
    assert size_of(done.stdout)[:2] == (1200, 630)
    assert done.stderr == b""
