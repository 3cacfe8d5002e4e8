"""Checks on a real NVIDIA GPU; skipped where there is none.

What they assert is what must hold on any GPU; what one GPU gave is for its own report.
"""

import json
import time

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
COUNTERS = ("energy_j", "throttled_thermal_ns", "throttled_power_ns", "throttled_brake_ns", "pcie_replays")


@pytest.fixture
def reader():
    from thermograd.ingest.devices.nvml import NvmlReader

    reader = NvmlReader()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def uuid():
    return "GPU-" + str(torch.cuda.get_device_properties(0).uuid)


def sample_of(reader, uuid):
    return {sample["device"]: sample for sample in reader.read()}[uuid]


def work(seconds):
    """Keep the GPU busy."""
    a = torch.randn(4096, 4096, device="cuda")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            a = torch.tanh(a @ a)
        torch.cuda.synchronize()


def test_nvml_reads_this_gpu_under_the_uuid_that_torch_knows(reader, uuid):
    sample = sample_of(reader, uuid)
    assert 0 < sample["temperature_c"] < 120
    assert sample.get("power_w", sample.get("power_w_average", 0)) > 0
    assert sample["memory_used_bytes"] > 0
    assert sample["sm_clock_mhz"] > 0
    if not reader.describe()[uuid].get("mig"):
        assert 0 <= sample["utilization_pct"] <= 100


def test_facts_say_what_the_gpu_gives_and_where_from(reader, uuid):
    facts = reader.describe()[uuid]
    assert facts["model"]
    assert facts["driver_version"]
    assert facts["max_sm_clock_mhz"] >= sample_of(reader, uuid)["sm_clock_mhz"]
    assert set(facts["sensors"]).isdisjoint(facts["missing"])
    assert all(reason for reason in facts["missing"].values())
    json.dumps(facts)


def test_a_busy_gpu_uses_energy_and_its_counters_never_go_back(reader, uuid):
    work(0.5)
    before = sample_of(reader, uuid)
    work(2.0)
    a = torch.randn(4096, 4096, device="cuda")
    for _ in range(300):  # a second of work, not waited for: it is busy while it is read
        a = torch.tanh(a @ a)
    after = sample_of(reader, uuid)
    torch.cuda.synchronize()
    for name in COUNTERS:
        if before.get(name) is not None and after.get(name) is not None:
            assert after[name] >= before[name]
    if "energy_j" in after:
        assert after["energy_j"] > before["energy_j"]
    if after.get("utilization_pct") is not None:
        assert after["utilization_pct"] > 20


def test_no_time_throttled_is_longer_than_the_time_that_passed(reader, uuid):
    """The field numbers differ between drivers: a wrong one would count something else than ns."""
    first = sample_of(reader, uuid)
    begun_ns = time.monotonic_ns()
    work(2.0)
    last, passed_ns = sample_of(reader, uuid), time.monotonic_ns() - begun_ns
    for name in ("throttled_power_ns", "throttled_brake_ns"):
        if first.get(name) is not None:
            assert last[name] - first[name] <= passed_ns + 500_000_000
    if first.get("throttled_thermal_ns") is not None:  # two causes, which may be at work at once
        assert last["throttled_thermal_ns"] - first["throttled_thermal_ns"] <= 2 * passed_ns + 500_000_000


@pytest.mark.parametrize("optimizers", [1, 2])
@pytest.mark.parametrize("clips", ["all", "a part", "by hand", "not"])
def test_norms_on_the_gpu_arrive_late_and_exact_and_nothing_synchronises(clips, optimizers):
    from thermograd.ingest.capture.tap import StepTap

    rows = []
    tap = StepTap(lambda **values: rows.append(values))
    tap.start()
    model = torch.nn.Linear(256, 256).cuda()
    groups = [[p] for p in model.parameters()] if optimizers == 2 else [model.parameters()]
    made = [torch.optim.SGD(group, lr=0.1) for group in groups]
    batches = [torch.randn(64, 256, device="cuda") * (1 + i % 3) for i in range(60)]
    expected = []

    def step(batch):
        model.zero_grad()
        model(batch).square().mean().backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        expected.append(norm)
        if clips in ("all", "a part"):
            torch.nn.utils.clip_grad_norm_(model.parameters() if clips == "all" else [model.bias], 0.01)
        if clips == "by hand":
            torch._foreach_mul_([p.grad for p in model.parameters()], (0.01 / norm).clamp(max=1.0))
        for optimizer in made:
            optimizer.step()

    step(batches[0])  # first uses of kernels may synchronise by themselves
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tap.stop()
    assert tap.guard.failures == 0
    assert [row["grad_norm"] for row in rows] == [pytest.approx(float(norm), rel=1e-6) for norm in expected]
    assert [row["step"] for row in rows] == list(range(1, 61))


def test_the_demo_records_the_gpu_beside_every_step(tmp_path, uuid):
    pytest.importorskip("transformers")
    from thermograd.ingest.demo import train_demo
    from thermograd.store.query.connection import connect

    run = train_demo(tmp_path, 500, 0)
    assert run.counts()["step"] == 500
    facts = run.facts["devices"][uuid]
    assert facts["simulated"] is False
    assert "simulated:restricted" not in run.facts["devices"]
    rows = (
        connect(tmp_path)
        .sql(f"SELECT temperature_c, sm_clock_mhz, clock_event_mask FROM samples WHERE device = '{uuid}'")
        .fetchall()
    )
    assert len(rows) > 5
    assert all(None not in row for row in rows)


def test_numbers_of_a_script_on_this_gpu_are_not_waited_for(tmp_path):
    import thermograd
    from thermograd.store.log.reader import read_kind

    with thermograd.start_run("gpu", tmp_path, agent=False) as run:
        run.log({"warm": torch.ones((), device="cuda")})
        a = torch.randn(8192, 8192, device="cuda")
        torch.cuda.synchronize()
        for _ in range(40):
            a = torch.tanh(a @ a)
        (worked := torch.cuda.Event()).record()
        run.log({"loss": a.mean(), "cpu": 1.0}, step=1)
        is_over = worked.query()
    rows = {row["name"]: row["value"] for row in read_kind(run.path, "metric").to_pylist()}
    assert not is_over
    assert rows["warm"] == 1.0
    assert rows["loss"] == pytest.approx(a.mean().item(), abs=1e-6)
