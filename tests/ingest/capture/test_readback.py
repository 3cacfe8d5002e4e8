"""Values leave an accelerator without anybody waiting: the logic, with a stand-in for the device."""

import math

import pytest

torch = pytest.importorskip("torch")

from thermograd.ingest.capture.readback import PinnedSlots, Readback, own_copy, tensor_of  # noqa: E402


class Event:
    """A CUDA event that passes when the test says so."""

    def __init__(self):
        self.passed, self.recorded, self.waited = False, 0, 0

    def record(self):
        self.recorded += 1
        self.passed = False

    def query(self):
        return self.passed

    def synchronize(self):
        self.waited += not self.passed
        self.passed = True


class OnDevice:
    """A scalar that claims to be on a CUDA device."""

    is_cuda, is_cpu = True, False

    def __init__(self, value, index=0):
        self.tensor, self.device = torch.tensor(value), torch.device("cuda", index)

    def detach(self):
        return self

    def to(self, dtype):
        return self.tensor.to(dtype)


@pytest.fixture
def device():
    """Return (pool of slots for a device, the events that were made)."""
    pools, events = {}, []

    def event():
        events.append(Event())
        return events[-1]

    def slots(device):
        if device not in pools:
            pools[device] = PinnedSlots(2, lambda n, w: torch.empty((n, w), dtype=torch.float64), event)
        return pools[device]

    return slots, events, pools


def test_a_value_is_ready_when_its_event_has_passed_and_nobody_waits_before(device):
    slots, events, _ = device
    reading = Readback({"loss": OnDevice(2.5), "norm0": OnDevice(0.5)}, slots)
    used = [event for event in events if event.recorded]
    assert [event.recorded for event in used] == [1]  # one event for all values of a step
    assert not reading.ready()
    used[0].passed = True
    assert reading.ready()
    assert reading.values() == {"loss": 2.5, "norm0": 0.5}
    assert used[0].waited == 0


def test_asking_too_early_waits(device):
    slots, events, _ = device
    reading = Readback({"loss": OnDevice(math.inf)}, slots)
    assert reading.values() == {"loss": math.inf}
    assert sum(event.waited for event in events) == 1


def test_slots_are_used_again_and_grow_only_with_the_backlog(device):
    slots, events, pools = device
    for step in range(20):
        assert Readback({"loss": OnDevice(float(step))}, slots).values() == {"loss": step}
    [pool] = pools.values()
    assert (pool.made, len(events)) == (2, 2)
    backlog = [Readback({"loss": OnDevice(float(step))}, slots) for step in range(5)]
    assert pool.made == 6
    assert [reading.values()["loss"] for reading in backlog] == [0, 1, 2, 3, 4]


def test_every_device_has_slots_of_its_own(device):
    slots, events, pools = device
    reading = Readback({"a": OnDevice(1.0), "b": OnDevice(2.0, 1), "c": torch.tensor(3.0)}, slots)
    assert len(pools) == 2
    first = next(event for event in events if event.recorded)
    first.passed = True
    assert not reading.ready()
    assert reading.values() == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_a_value_on_the_cpu_is_read_at_once():
    value = torch.tensor(1.5)
    reading = Readback({"loss": value})
    value.zero_()
    assert reading.ready()
    assert reading.values() == {"loss": 1.5}


def test_a_value_on_another_accelerator_is_read_when_it_is_asked_for():
    class Other(OnDevice):
        is_cuda = False

        def __init__(self, value):
            super().__init__(value)
            self.device = torch.device("mps")

        def __float__(self):
            return float(self.tensor)

    assert Readback({"loss": Other(4.0)}).values() == {"loss": 4.0}


def test_a_copy_is_independent_of_its_owner_and_not_half_precise():
    for shape, of in (((), torch.float32), ((1,), torch.float64), ((), torch.bfloat16)):
        loss = torch.full(shape, 1.5, dtype=of, requires_grad=True)
        copy = tensor_of(own_copy(loss))
        loss.data.zero_()
        assert copy.item() == 1.5
        assert copy.dtype == (torch.float64 if of is torch.float64 else torch.float32)
        assert not copy.requires_grad
    assert own_copy(torch.tensor([2.0], dtype=torch.bfloat16)).dtype == torch.float32
    assert own_copy(torch.ones(2)) is None
    assert own_copy(3.0) is None
