"""A loss that is read on the host when it is seen counts as torch counts: to the bit, and as it was then."""

import struct

import pytest
import torch
from thermograd.ingest.capture.optimizers import _sum
from thermograd.ingest.capture.readback import HostScalar, Readback, own_copy, tensor_of


@pytest.mark.parametrize("of", [torch.float32, torch.float64])
def test_sums_of_losses_are_those_of_torch_to_the_bit(of):
    generator = torch.Generator().manual_seed(0)
    losses = torch.randn(200, dtype=torch.float64, generator=generator).to(of).unbind()
    total, expected = None, None
    for loss in losses:
        total = _sum(total, own_copy(loss))
        expected = loss if expected is None else expected + loss
    (read,) = Readback({"loss": total}).values().values()
    assert struct.pack("<d", read) == struct.pack("<d", float(expected))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), -0.0, 1e-45])
def test_what_is_no_usual_number_stays_what_it_is(value):
    copy = own_copy(torch.tensor(value))
    assert isinstance(copy, HostScalar)
    assert struct.pack("<f", tensor_of(copy).item()) == struct.pack("<f", torch.tensor(value).item())


def test_a_sum_with_a_loss_of_another_type_is_of_the_type_that_torch_gives_it():
    total = _sum(own_copy(torch.tensor(1.0)), own_copy(torch.tensor(2.0, dtype=torch.float64)))
    assert tensor_of(total).dtype == (torch.tensor(1.0) + torch.tensor(2.0, dtype=torch.float64)).dtype


def test_a_loss_on_the_host_stays_there_whatever_device_is_the_default():
    with torch.device("meta"):
        total = _sum(own_copy(torch.tensor(1.0, device="cpu")), own_copy(torch.tensor(2.0, device="cpu")))
    assert Readback({"loss": total}).values() == {"loss": 3.0}
