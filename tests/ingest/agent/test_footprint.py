import os
from importlib.util import find_spec

from thermograd.ingest.agent.footprint import FRUGAL, SparingFinder, frugal


def test_what_makes_libraries_frugal_is_put_back_at_the_end(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with frugal():
        assert os.environ.items() >= FRUGAL.items()
    assert dict(os.environ) == before


def test_the_finder_answers_for_its_packages_alone():
    finder = SparingFinder()
    assert finder.find_spec("pandas") is not None
    assert finder.find_spec("numpy") is None
    assert find_spec("numpy") is not None
