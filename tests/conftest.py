"""Fixtures that several test modules use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# On CI the same examples every time: a rare one found there would stop somebody else's change.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The real recordings, which lie beside the checkout and are not part of it."""
    path = Path(__file__).parents[1].parent / "shared" / "data" / "recorded"
    if not path.is_dir():
        pytest.skip("the real recordings (shared/data/recorded beside the checkout) are not here")
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """Our own small recordings; their README says how they came about."""
    return Path(__file__).parent / "data"
