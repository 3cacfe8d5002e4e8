"""Packages that import their names when they are first used, and what must not come into an import."""

import contextlib
import gc

import pytest
from thermograd.store.lazy_names import no_collection


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_put_off_and_left_as_it_was(was_enabled):
    before = gc.isenabled()
    try:
        gc.enable() if was_enabled else gc.disable()
        with contextlib.suppress(KeyError), no_collection(), no_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable() if before else gc.disable()
