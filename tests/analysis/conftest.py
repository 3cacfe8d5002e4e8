"""What the tests of the analysis share."""

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scipy.linalg  # noqa: F401  # its BLAS is another than numpy's, and must be there to be limited
from simulated_runs import simulated
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.store.runs.catalogue import Run
from threadpoolctl import threadpool_limits

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the system's browser: for one module, as its driver keeps an event loop in this thread."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright (extra dev) is not installed")
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(_BROWSERS)})")
    with driver.sync_playwright() as playwright:
        driver.expect.set_options(
            timeout=120_000
        )  # of the tests' waiting only: a busy machine takes its time
        running = playwright.chromium.launch(executable_path=path, args=list(_SWITCHES))
        running.new_page, running.new_context = map(_patient, (running.new_page, running.new_context))
        yield running
        running.close()


def _patient(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(**options: Any) -> Any:
        given = make(**options)
        given.set_default_timeout(120_000)
        return given

    return made


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread, as our commands do: the tests run side by side, and cores differ in number."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def _no_training_goes_on() -> Iterator[None]:
    """End what a test has let train."""
    yield
    if "live_training" in sys.modules:
        sys.modules["live_training"].end_all()


@pytest.fixture(scope="session")
def slow_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Write a run in which heat arrives with a memory of 30 s, under opposite trends."""
    return simulated(tmp_path_factory.mktemp("slow"), "slow30-trends", minutes=25)


@pytest.fixture(scope="session")
def slow_analysis(slow_run: Run) -> Analysis:
    """Analyse that run."""
    return analyze_run(slow_run, "grad_norm", "temperature_c")
