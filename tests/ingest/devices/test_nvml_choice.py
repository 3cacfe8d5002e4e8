"""Which of the machine's NVIDIA GPUs are read, and why not the others."""

import pytest
from fake_nvml import UUIDS
from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.ingest.devices.nvml import NvmlReader

NO_DRIVER, LOST = 9, 15


def test_no_driver_is_a_normal_answer_with_its_reason(fake):
    fake.state.init_result = NO_DRIVER
    with pytest.raises(DeviceUnavailableError, match="Driver Not Loaded"):
        NvmlReader({})


def test_no_gpu_is_a_normal_answer(fake):
    fake.state.count = 0
    with pytest.raises(DeviceUnavailableError, match="no GPU"):
        NvmlReader({})


def test_a_gpu_that_is_lost_from_the_start_does_not_hide_the_other(fake, reading):
    fake.gpus[0].lost = 1
    reader = reading()
    assert [sample["device"] for sample in reader.read()] == [UUIDS[1]]
    assert reader.unreadable == {"nvidia GPU 0": "GPU is lost"}


def test_only_the_gpus_of_the_job_are_sampled(reading):
    assert [s["device"] for s in reading(CUDA_VISIBLE_DEVICES=UUIDS[1][:8]).read()] == [UUIDS[1]]


def test_an_index_among_different_cards_is_not_guessed_and_the_note_is_kept(fake, reading):
    fake.gpus[1].name = b"NVIDIA Other 1000"
    reader = reading(CUDA_VISIBLE_DEVICES="1")
    assert len(reader.read()) == 2
    assert "CUDA_DEVICE_ORDER" in reader.describe()[UUIDS[0]]["note"]


def test_an_empty_choice_samples_none(fake):
    with pytest.raises(DeviceUnavailableError, match="CUDA_VISIBLE_DEVICES='' names none of 2 GPUs"):
        NvmlReader({"CUDA_VISIBLE_DEVICES": ""})
