"""A stand-in for the NVIDIA driver's library, and readers of it."""

import fake_nvml
import pytest
from thermograd.ingest.devices import nvml
from thermograd.ingest.devices.nvml import NvmlReader


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return fake_nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory):
    return fake_nvml.build(tmp_path_factory.mktemp("old"), "-DOLD_DRIVER")


@pytest.fixture
def fake(library, tmp_path, monkeypatch):
    fake = fake_nvml.FakeNvml(library, tmp_path / "gpus")
    fake_nvml.use_in_this_process(monkeypatch, fake)
    return fake


@pytest.fixture
def reading(fake, monkeypatch):
    """Return a function that opens a reader with an environment; all are closed at the end."""
    opened = []
    monkeypatch.setattr(nvml, "_EVENT_WAIT_MS", 20)

    def open_reader(**environment):
        opened.append(NvmlReader(environment))
        return opened[-1]

    yield open_reader
    for reader in opened:
        reader.close()
