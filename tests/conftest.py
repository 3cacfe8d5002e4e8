"""Fixtures that several test modules use, and what keeps a test from depending on where and when it runs."""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("servers",)  # of tests/support: the servers of a fleet, for the tests that ask for one

# The same examples every time and no limit of time: a rare one found by chance, or a slow machine, would stop
# somebody else's change. `pytest --hypothesis-profile search` looks for others.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile("same")

# Nor do they depend on the tests before: hypothesis draws constants from our modules that are loaded.
_providers = sys.modules.get("hypothesis.internal.conjecture.providers")
if hasattr(_providers, "_get_local_constants"):
    _providers._get_local_constants = lambda: _providers._local_constants

# What a shell, a job or a proxy has set is no part of any test; a test sets what it needs itself.
_JOB = {"RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
_OURS = ("THERMOGRAD_", "SLURM_", "OMPI_", "PMIX_", "TORCHELASTIC_")
for _name in list(os.environ):
    if _name.startswith(_OURS) or _name in _JOB | _TERMINAL or _name.lower().endswith("_proxy"):
        del os.environ[_name]
_CACHE = tempfile.TemporaryDirectory()  # the user's own is left alone
os.environ["THERMOGRAD_CACHE"] = _CACHE.name
os.environ["THERMOGRAD_CARD"] = "0"  # it takes an analysis; the tests of the card turn it on

# Nor is running in the background: Ctrl-C is ignored there, by every process that a test interrupts too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Look for no garbage while the tests are collected: looking takes half the time, and finds none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look at what collection has made, most of a million objects, no more: only at what tests make."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let what is left go as in any process; libraries complain at its end of what they still hold."""
    _CACHE.cleanup()
    gc.unfreeze()


@pytest.fixture
def no_gc_callbacks() -> Iterator[None]:
    """Collect nothing meanwhile: what a signal raises in what is called then (of weak sets) goes unseen."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _room_on_the_disk() -> Iterator[None]:
    """Let no run say that the disk is nearly full, whatever is free here: that is a mark in its log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thermograd.store.log.writer._LITTLE_SPACE_BYTES", 0)
        yield


@pytest.fixture(autouse=True)
def _nothing_set_for_other_tests() -> Iterator[None]:
    """Take back the variables, and who takes signals, that a command or a library has set in this process."""
    variables = _variables()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for name in _variables().keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def _no_optimizers_of_other_tests() -> None:
    """Forget optimizers that an earlier test in this process has left: a tap waits for one that may step."""
    hooks = sys.modules.get("thermograd.ingest.capture.hooks")
    if hooks is not None:
        hooks.created.optimizers.clear()


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
