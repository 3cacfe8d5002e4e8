"""The limit of BLAS's threads: there while an analysis lasts, and gone after it."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from thermograd.analysis.calibration.calibrate import calibrate
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.run.analyze import analyze_run
from threadpoolctl import threadpool_info, threadpool_limits


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two():
    """Let this process's BLAS have two threads, however many processors there are."""
    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() == {2}
        yield
        assert threads() == {2}


OTHER = SimpleNamespace(path=Path("other"))


class Seen(Exception):
    """What a function that is spied on found when it was called."""


def spy(*_, **__):
    raise Seen(threads(), dict(os.environ))


@pytest.mark.parametrize(
    ("spied", "start"),
    [
        ("run.analyze.load_series", lambda run: analyze_run(run)),
        (
            "comparison.compare.load_series",
            lambda run: compare_runs([run, SimpleNamespace(path=Path("other"))]),
        ),
        ("calibration.calibrate.residual_cross_correlation", lambda run: calibrate(1)),
    ],
    ids=["analyze_run", "compare_runs", "calibrate"],
)
def test_an_analysis_has_one_thread_whatever_ends_it_and_sets_no_variable(monkeypatch, spied, start):
    monkeypatch.setattr(f"thermograd.analysis.{spied}", spy)
    before = dict(os.environ)
    with pytest.raises(Seen) as seen:
        start(SimpleNamespace(path=Path("run")))
    assert seen.value.args == ({1}, before)


def test_the_outermost_of_nested_limits_is_the_one_that_counts():
    with one_blas_thread():
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_limits_that_overlap_in_threads_leave_the_number_as_it_was():
    held, leave = threading.Event(), threading.Event()

    def hold():
        with one_blas_thread():
            held.set()
            leave.wait(60)

    other = threading.Thread(target=hold)
    with one_blas_thread():
        other.start()
        assert held.wait(60)
        assert threads() == {1}
    assert threads() == {2}
    leave.set()
    other.join()
    assert threads() == {2}


def test_the_first_limit_of_a_process_changes_no_variable_either():
    code = (
        "import os; before = dict(os.environ)\n"
        "from thermograd.analysis.coupling.linear_algebra import one_blas_thread\n"
        "with one_blas_thread(): assert os.environ == before\n"
        "assert os.environ == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
