"""What the tests of the report share: where the script bundle is kept, and a run that has everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_page import Page, page_of
from synthetic import make_run
from thermograd.analysis.report.page import document as page_module
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.store.runs.catalogue import Run


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the script bundle of these tests out of the user's cache."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "cache_dir", lambda: directory)
        page_module.vega_bundle.cache_clear()
        yield directory
    page_module.vega_bundle.cache_clear()


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(
        tmp_path_factory.mktemp("runs"), spikes=[100, 200], injections=[200], collapse_s=120.0, simulated=True
    )


@pytest.fixture(scope="session")
def analysis(full: Run) -> Analysis:
    return analyze_run(full)


@pytest.fixture(scope="session")
def page(full: Run, analysis: Analysis) -> Page:
    return page_of(full, analysis)
