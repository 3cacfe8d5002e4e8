"""A small model and a tap whose rows are a list."""

import pytest


@pytest.fixture
def model():
    from small_training import make_model

    return make_model()


@pytest.fixture
def tapped():
    from thermograd.ingest.capture.tap import StepTap

    rows = []
    tap = StepTap(lambda **values: rows.append(values))
    tap.start()
    yield tap, rows
    tap.stop()
    assert tap.guard.failures == 0


@pytest.fixture
def rows(tapped):
    return tapped[1]


@pytest.fixture(params=[True, False], ids=["watched", "unwatched"])
def recorded(request):
    """Yield a started tap, what it emits and what it says; watching the optimizer or not."""
    from odd_loops import Recorded

    recorded = Recorded()
    recorded.is_watching = request.param
    with recorded:
        yield recorded
