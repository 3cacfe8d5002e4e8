"""NVML through unmodified pynvml, which talks to a stand-in library that the tests edit while it runs."""

import json
import time

import fake_nvml
import pytest
from fake_nvml import UUIDS
from thermograd.ingest.devices import nvml
from thermograd.ingest.devices.nvml import NvmlReader
from thermograd.ingest.devices.nvml_fields import throttle_fields
from thermograd.ingest.devices.nvml_gpu import NvmlGpu
from thermograd.store.events import column_names

NOT_SUPPORTED, NO_PERMISSION, NO_DRIVER, TIMEOUT, LOST, RESET, UNKNOWN = 3, 4, 9, 10, 15, 16, 999
EXPECTED = {
    "device": UUIDS[0],
    "utilization_pct": 87.0,
    "power_w": 301.5,
    "power_w_average": 300.0,
    "energy_j": 5000.5,
    "temperature_c": 66.0,
    "memory_temperature_c": 71.0,
    "slowdown_margin_c": 17.0,
    "sm_clock_mhz": 1725.0,
    "memory_clock_mhz": 2619.0,
    "memory_used_bytes": 2.0**33,
    "power_limit_w": 350.0,
    "fan_pct": 55.0,
    "clock_event_mask": 0x464,
    "throttled_power_ns": 10,
    "throttled_thermal_ns": 50,
    "throttled_brake_ns": 0,
    "ecc_corrected": 2,
    "ecc_uncorrected": 0,
    "pcie_replays": 1,
}
SLOW = {"fan_pct", "ecc_corrected", "ecc_uncorrected", "pcie_replays"}


@pytest.fixture
def gpu(fake):
    """Return the first GPU as our code reads it, with its tiers on a clock that the test turns."""
    import pynvml

    pynvml.nvmlInit()
    return NvmlGpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0), "590.44.01")


# -- samples and facts -----------------------------------------------------------------------------------


def test_a_sample_has_si_units_and_unknown_bits_are_kept(reading):
    first, second = reading().read()
    assert first == EXPECTED
    assert second["device"] == UUIDS[1]
    assert first.keys() <= set(column_names("sample"))


def test_a_tick_costs_one_batched_call_and_few_others(fake, gpu):
    gpu.read(0.0)
    before = list(fake.gpus[0].counts)
    sample = gpu.read(0.2)
    calls = {
        name: after - b
        for name, after, b in zip(fake_nvml.CALLS, fake.gpus[0].counts, before, strict=False)
        if after != b
    }
    assert calls.pop("field_values") == 1
    assert sum(calls.values()) <= 8
    assert sample.keys() == EXPECTED.keys() - SLOW


def test_what_changes_slowly_is_read_every_two_seconds_and_null_in_between(gpu):
    seen = [gpu.read(tick / 5).keys() >= SLOW for tick in range(21)]
    assert [i for i, slow in enumerate(seen) if slow] == [0, 10, 20]


def test_the_card_is_followed_as_it_heats_and_throttles(fake, reading):
    reader = reading()
    assert reader.read()[0]["temperature_c"] == 66.0
    card = fake.gpus[0]
    card.temperature, card.margin, card.reasons, card.sm_clock = 93, -3, 0x60, 990
    card.set_field(270, 5_000_000_000)
    sample = reader.read()[0]
    assert (sample["temperature_c"], sample["slowdown_margin_c"], sample["sm_clock_mhz"]) == (93.0, -3.0, 990)
    assert sample["clock_event_mask"] == 0x60
    assert sample["throttled_thermal_ns"] == 5_000_000_020


def test_facts_hold_limits_thresholds_versions_and_where_each_reading_comes_from(reading):
    facts = reading().describe()[UUIDS[0]]
    assert facts["model"] == "NVIDIA Test 9000"
    assert facts["simulated"] is False
    assert facts["rated_power_w"] == 400.0
    assert facts["power_limit_range_w"] == [100.0, 400.0]
    assert (facts["slowdown_temperature_c"], facts["shutdown_temperature_c"]) == (90.0, 95.0)
    assert (facts["temperature_limit_c"], facts["temperature_limit_from"]) == (
        87.0,
        "max_operating_temperature_c",
    )
    assert (facts["max_sm_clock_mhz"], facts["compute_capability"], facts["mig"]) == (1980.0, "9.0", False)
    assert (facts["driver_version"], facts["nvml_version"]) == ("590.44.01", "13.590.44.01")
    assert facts["sources"]["power_w"] == "field 186"
    assert facts["sources"]["throttled_thermal_ns"] == "field 269+270"
    assert facts["batch_latency_us"] > 0
    assert facts["missing"] == {}
    assert set(facts["sensors"]) == EXPECTED.keys() - {"device"}
    json.dumps(facts)


def test_limits_of_newer_cards_are_margins_and_never_taken_for_temperatures(fake, reading):
    fake.gpus[0].thresholds[:] = (0, 0, 0, 0)
    for number, value in {193: -7, 194: -2, 196: 0}.items():
        fake.gpus[0].set_field(number, value)
    facts = reading().describe()[UUIDS[0]]
    assert (facts["shutdown_t_limit_c"], facts["slowdown_t_limit_c"], facts["gpu_max_t_limit_c"]) == (
        -7,
        -2,
        0,
    )
    assert "slowdown_temperature_c" not in facts
    assert facts["temperature_limit_c"] == 66.0 + 17.0
    assert "margin" in facts["temperature_limit_from"]


def test_a_card_that_gives_no_limit_says_so(fake, reading):
    fake.gpus[0].thresholds[:] = (0, 0, 0, 0)
    fake.gpus[0].fail("margin", NOT_SUPPORTED)
    facts = reading().describe()[UUIDS[0]]
    assert "temperature_limit_c" not in facts
    assert facts["missing"].keys() == {"temperature_limit_c", "slowdown_margin_c"}


def test_a_temperature_below_a_degree_is_used_where_it_agrees(fake, reading):
    fake.gpus[0].set_field(308, 66.4375)
    fake.gpus[1].set_field(308, 1234.5)
    first, second = reading().read()
    assert first["temperature_c"] == 66.4375
    assert second["temperature_c"] == 66.0


# -- what a driver does not have ---------------------------------------------------------------------------


def test_what_a_gpu_does_not_support_is_left_out_and_named(fake, reading):
    card = fake.gpus[0]
    card.fail("fan", NOT_SUPPORTED)
    card.fail("utilization", NO_PERMISSION)
    card.remove_field(82)
    reader = reading()
    facts = reader.describe()[UUIDS[0]]
    sample = reader.read()[0]
    assert {"fan_pct", "utilization_pct", "memory_temperature_c"}.isdisjoint(sample)
    assert facts["missing"] == {
        "fan_pct": "Not Supported",
        "memory_temperature_c": "Not Supported",
        "utilization_pct": "Insufficient Permissions",
    }
    before = card.count("utilization")
    reader.read()
    assert card.count("utilization") == before, "what is refused for good is not asked again"


def test_an_old_driver_without_the_newer_functions_is_read_by_the_older_ones(
    old_library, tmp_path, monkeypatch
):
    fake = fake_nvml.FakeNvml(old_library, tmp_path / "gpus")
    fake.state.driver = b"535.161.08"
    for number in (269, 270, 271, 186, 185, 83):
        fake.gpus[0].remove_field(number)
    fake.gpus[0].set_field(75, 40)
    fake_nvml.use_in_this_process(monkeypatch, fake)
    monkeypatch.setattr(nvml, "_EVENT_WAIT_MS", 20)
    reader = NvmlReader({})
    sample, facts = reader.read()[0], reader.describe()[UUIDS[0]]
    reader.close()
    assert (sample["temperature_c"], sample["clock_event_mask"]) == (66.0, 0x464)
    assert sample["throttled_thermal_ns"] == 40
    assert sample["energy_j"] == 5000.5
    assert (sample.get("power_w"), sample["power_w_average"]) == (None, 299.0)
    assert facts["missing"].keys() == {"slowdown_margin_c", "power_w", "throttled_brake_ns"}


@pytest.mark.parametrize(("capability", "name"), [((7, 0), "power_w"), ((8, 0), "power_w"), ((8, 6), None)])
def test_the_one_power_of_older_cards_goes_by_what_it_is(fake, reading, capability, name):
    card = fake.gpus[0]
    card.capability_major, card.capability_minor = capability
    card.remove_field(186)
    card.remove_field(185)
    sample = reading().read()[0]
    column = name or "power_w_average"
    assert {column: 299.0} == {key: sample[key] for key in ("power_w", "power_w_average") if key in sample}


@pytest.mark.parametrize(
    ("driver", "thermal"),
    [
        ("535.161.08", (75,)),
        ("570.172.08", (75,)),
        ("575.51.03", (251, 252)),
        ("580.65.06", (251, 252)),
        ("580.76.05", (75,)),
        ("580.82.07", (269, 270)),
        ("615.71", (269, 270)),
        ("something", (75,)),
    ],
)
def test_the_fields_of_throttled_time_follow_the_driver(driver, thermal):
    assert throttle_fields(driver)["throttled_thermal_ns"].fields == thermal


def test_in_mig_mode_power_and_heat_are_the_whole_cards_and_utilisation_is_null(fake, reading):
    fake.gpus[1].mig = 1
    fake.gpus[1].fail("utilization", NOT_SUPPORTED)
    reader = reading(CUDA_VISIBLE_DEVICES="MIG-111")
    (sample,) = reader.read()
    assert sample["device"] == UUIDS[1]
    assert sample["power_w"] == 301.5
    assert "utilization_pct" not in sample
    assert reader.describe()[UUIDS[1]]["mig"] is True


# -- what fails while it runs ------------------------------------------------------------------------------


def test_an_error_in_one_reading_makes_only_that_value_null_and_is_asked_more_rarely(fake, gpu):
    fake.gpus[0].fail("clock", UNKNOWN)
    asked = []
    for tick in range(100):
        before = fake.gpus[0].count("clock")
        sample = gpu.read(tick / 5)
        assert "sm_clock_mhz" not in sample
        assert sample["temperature_c"] == 66.0
        if fake.gpus[0].count("clock") != before:
            asked.append(tick / 5)
    assert asked == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert gpu.guard.failures == 10  # two clocks
    assert [mark["mark"] for mark in gpu.marks] == ["gap"]
    fake.gpus[0].fail("clock", 0)
    assert gpu.read(40.0)["sm_clock_mhz"] == 1725.0


def test_a_driver_that_times_out_is_left_alone_for_a_while(fake, gpu):
    fake.gpus[0].fail("field_values", TIMEOUT)
    assert gpu.read(0.0) is None
    before = list(fake.gpus[0].counts)
    assert gpu.read(0.5) is None
    assert list(fake.gpus[0].counts) == before, "nothing is asked meanwhile"
    fake.gpus[0].fail("field_values", 0)
    assert gpu.read(1.0) == EXPECTED


def test_a_counter_that_answers_in_part_is_not_a_smaller_number(fake, reading):
    reader = reading()
    fake.gpus[0].set_field(270, 30, result=UNKNOWN)
    assert "throttled_thermal_ns" not in reader.read()[0]


def test_a_reading_that_ends_for_good_is_dropped_and_marked_once(fake, reading):
    reader = reading()
    reader.read()
    fake.gpus[0].fail("utilization", NOT_SUPPORTED)
    assert "utilization_pct" not in reader.read()[0]
    reader.read()
    (mark,) = reader.marks()
    assert mark["mark"] == "gap"
    assert "gives no utilization_pct any more (Not Supported)" in mark["text"]


@pytest.mark.parametrize("how", ["lost", "needs a reset", "a field says so"])
def test_a_lost_gpu_is_marked_once_and_the_other_goes_on(fake, reading, how):
    reader = reading()
    if how == "lost":
        fake.gpus[0].lost = 1
    elif how == "needs a reset":
        fake.gpus[0].fail("utilization", RESET)
    else:
        fake.gpus[0].set_field(82, 0, result=LOST)
    for _ in range(3):
        assert [sample["device"] for sample in reader.read()] == [UUIDS[1]]
    (mark,) = reader.marks()
    assert mark["mark"] == "error"
    assert json.loads(mark["detail"])["device"] == UUIDS[0]
    assert reader.marks() == []


def test_an_xid_error_becomes_a_mark_with_its_own_time(fake, reading):
    reader = reading()
    begun_ns = time.time_ns()
    fake.raise_xid(1, 79)
    fake.raise_xid(0, 31)
    end = time.monotonic() + 60
    marks = []
    while len(marks) < 2:
        assert time.monotonic() < end
        time.sleep(0.005)
        marks += reader.marks()
    assert [json.loads(mark["detail"]) for mark in marks] == [
        {"xid": 79, "device": UUIDS[1]},
        {"xid": 31, "device": UUIDS[0]},
    ]
    assert marks[0]["mark"] == "error"
    assert "fallen off the bus" in marks[0]["text"]
    assert marks[0]["time_ns"] >= begun_ns
    assert marks[0].keys() <= set(column_names("mark"))


def test_a_gpu_that_reports_no_events_says_so(fake, reading):
    fake.gpus[0].fail("event_register", NOT_SUPPORTED)
    facts = reading().describe()
    assert facts[UUIDS[0]]["missing"] == {"xid events": "Not Supported"}
    assert facts[UUIDS[1]]["missing"] == {}


def test_a_slow_driver_is_waited_for_without_holding_the_interpreter(fake, reading):
    """pynvml lets other threads run while the driver answers; the agent's other readers need that."""
    import threading

    reader = reading()
    fake.gpus[0].delay_us = 20_000
    ticks, done, best = [], threading.Event(), 0.0
    thread = threading.Thread(target=lambda: [ticks.append(1) for _ in iter(lambda: done.wait(0.001), True)])
    thread.start()
    end = time.monotonic() + 60
    while best <= 2.0 and time.monotonic() < end:  # how often a busy machine lets the other thread is luck
        seen, called = len(ticks), sum(fake.gpus[0].counts)
        reader.read()
        best = max(best, (len(ticks) - seen) / (sum(fake.gpus[0].counts) - called))
    done.set()
    thread.join()
    assert best > 2.0  # ticks a call; it is one at most where the other thread can run between calls only
