"""What heat cost a run, for runs of every shape: its numbers, its sentences, and what cannot be told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import START_NS
from thermograd.analysis.run.incident.incident import run_incident
from thermograd.analysis.run.incident.result import HEATED, Incident
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run

_S = 10**9
Readings = Callable[[int], dict[str, Any]]


def _hot(second: int) -> bool:
    return second % 30 >= 20


def _counters(hot: Callable[[int], bool] = _hot) -> Readings:
    """Readings of a GPU whose thermal counter ran in the seconds before those that are hot."""
    total = np.cumsum([hot(second) for second in range(10_000)])

    def read(second: int) -> dict[str, Any]:
        return {
            "throttled_thermal_ns": int(total[second]) * _S,
            "throttled_brake_ns": 0,
            "throttled_power_ns": 0,
            "temperature_c": 88.0 if hot(second) else 80.0,
            "power_w": 300.0,
        }

    return read


def _write(
    runs: Path,
    devices: dict[str, Readings],
    seconds: int = 600,
    steps: bool = True,
    slower: float = 1.5,
    facts: dict[str, Any] | None = None,
) -> Run:
    run = create_run(runs, "heat", {"devices": {name: {} for name in devices}} | (facts or {}))
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=8192)
    for second in range(seconds + 1):
        for name, read in devices.items():
            writer.append("sample", START_NS + second * _S, device=name, **read(second))
    if steps:
        _write_steps(writer, seconds, slower)
    writer.close()
    return run


def _write_steps(writer: EventWriter, seconds: int, slower: float) -> None:
    rng = np.random.default_rng(0)
    time_s, step = 0.0, 0
    while True:
        took_s = (
            0.25 * float(np.exp(0.02 * rng.standard_normal())) * (slower if _hot(int(time_s) + 1) else 1.0)
        )
        time_s, step = time_s + took_s, step + 1
        if time_s > seconds:
            return
        writer.append("step", START_NS + round(time_s * _S), step=step, rank=0, loss=1.0, step_time_s=took_s)


def _incident(run: Run) -> Incident:
    return run_incident(load_series(run))


def _lines(run: Run) -> list[str]:
    lines = _incident(run).lines
    assert all(line.endswith(".") and "None" not in line and "nan" not in line for line in lines)
    return lines


def test_a_throttled_gpu_is_told_in_plain_words(tmp_path: Path) -> None:
    incident = _incident(_write(tmp_path, {"GPU-0": _counters()}))
    assert incident.shares[HEATED] == pytest.approx(1 / 3)
    assert incident.slowdown.ratio == pytest.approx(1.5, abs=0.02)
    assert incident.slowdown.low is not None
    assert incident.slowdown.low > 1.4
    throttled, steps, lost, hottest, energy = incident.lines
    assert throttled == "Heat slowed the GPU down (throttled it) for 33 % of the 10 min recorded, 20 times."
    assert steps.startswith("Steps took 1.50 times as long while throttled (95 % interval 1.")
    assert incident.lost_h == pytest.approx(200 / 3600 / 3, rel=0.05)
    assert lost.startswith("If heat is why, about 1.11 of 10.0 GPU-minutes were lost (")
    assert hottest == "Hottest: 88 degC."
    assert energy == "Energy: 180 kJ (from power over time)."


def test_the_shares_are_those_of_the_view(tmp_path: Path) -> None:
    run = _write(tmp_path, {"GPU-0": _counters(), "GPU-1": _counters(lambda second: second < 60)})
    rows = query(
        "SELECT cause, sum(throttled_s) / sum(observed_s) AS share FROM throttling GROUP BY 1", [run]
    )
    shares = {row["cause"]: row["share"] for row in rows.to_pylist()}
    incident = _incident(run)
    assert {cause: shares[cause] for cause in incident.shares} == pytest.approx(incident.shares)


def test_of_eight_gpus_the_slowest_decides_and_the_worst_is_named(tmp_path: Path) -> None:
    cool = _counters(lambda second: False)
    devices = {f"GPU-{number}": _counters() if number == 3 else cool for number in range(8)}
    incident = _incident(_write(tmp_path, devices))
    assert incident.any_device_share == pytest.approx(1 / 3, abs=0.01)
    assert incident.shares[HEATED] == pytest.approx(1 / 24)
    assert incident.slowdown.ratio == pytest.approx(1.5, abs=0.02)
    assert incident.lost_h == pytest.approx(8 * 200 / 3600 / 3, rel=0.05)
    assert incident.lines[0].startswith(
        "Heat slowed GPUs down (throttled them): at least one of 8 for 33 % of the 10 min recorded, "
        "each for 4.2 % on average, 20 times in all."
    )
    assert any(
        line == "Worst: GPU 3, throttled for 33 % of the time, up to 88 degC." for line in incident.lines
    )


def test_a_training_of_one_process_loses_no_hours_of_the_others_gpus(tmp_path: Path) -> None:
    devices = {f"GPU-{number}": _counters() for number in range(8)}
    alone = _incident(_write(tmp_path, devices, facts={"job": {"world_size": 1}}))
    assert alone.lost_h == pytest.approx(200 / 3600 / 3, rel=0.05)


def test_nothing_happened_differs_from_cannot_tell(tmp_path: Path) -> None:
    calm = _write(tmp_path / "calm", {"GPU-0": _counters(lambda second: False)})
    dumb = _write(tmp_path / "dumb", {"GPU-0": lambda second: {"temperature_c": 70.0}})
    none = _write(tmp_path / "none", {})
    assert _lines(calm)[0] == "No throttling by heat was recorded in 10 min."
    assert _lines(dumb)[0] == (
        "Cannot tell whether heat slowed this run: GPU 0 does not report whether it is throttled."
    )
    assert _lines(none) == ["Cannot tell whether heat slowed this run: no device was sampled."]
    assert _incident(calm).shares[HEATED] == 0.0
    assert _incident(dumb).shares == dict.fromkeys(("thermal", "brake", HEATED, "power"))
    assert _incident(dumb).any_device_share is None


def test_a_missing_sensor_says_its_reason_and_a_silent_device_is_counted(tmp_path: Path) -> None:
    facts = {"devices": {"GPU-0": {"missing": {"clock_event_mask": "the driver refuses it"}}, "GPU-1": {}}}
    mute: Readings = lambda second: {"temperature_c": 70.0}  # noqa: E731 - a row of a table
    alone = _write(tmp_path / "alone", {"GPU-0": mute}, facts=facts)
    assert "; the driver refuses it." in _lines(alone)[0]
    both = _write(tmp_path / "both", {"GPU-0": mute, "GPU-1": _counters()}, facts=facts)
    assert "1 of 2 GPUs do not report whether they are throttled." in _lines(both)
    neither = _write(tmp_path / "neither", {"GPU-0": mute, "GPU-1": mute}, facts=facts)
    assert "none of its 2 devices reports whether it is throttled" in _lines(neither)[0]


def test_a_power_cap_is_told_apart_and_costs_no_hours(tmp_path: Path) -> None:
    total = np.cumsum([_hot(second) for second in range(601)])
    capped: Readings = lambda second: {  # noqa: E731 - a row of a table
        "throttled_power_ns": int(total[second]) * _S,
        "throttled_thermal_ns": 0,
    }
    incident = _incident(_write(tmp_path, {"GPU-0": capped}))
    assert incident.lines[0] == "No throttling by heat was recorded in 10 min."
    assert incident.lines[1].startswith("The power cap held the clock down for 33 % of the time")
    assert "while at the power cap" in incident.lines[2]
    assert incident.lost_h is None


def test_the_power_brake_is_named_beside_heat(tmp_path: Path) -> None:
    heat = _counters()
    braked: Readings = lambda second: heat(second) | {"throttled_brake_ns": min(second, 60) * _S}  # noqa: E731
    line = _lines(_write(tmp_path, {"GPU-0": braked}))[0]
    assert line.endswith("(heat 33 %, the external power brake 10 %).")


def test_bits_alone_are_enough(tmp_path: Path) -> None:
    bits: Readings = lambda second: {"clock_event_mask": 0x20 * _hot(second)}  # noqa: E731 - a row of a table
    incident = _incident(_write(tmp_path, {"GPU-0": bits}))
    assert incident.devices[0].causes[HEATED]["source"] == "sampled"
    assert incident.shares[HEATED] == pytest.approx(1 / 3, abs=0.01)
    assert incident.slowdown.slower


@pytest.mark.parametrize("seconds", [0, 1, 2, 60])
@pytest.mark.parametrize("steps", [True, False])
def test_short_runs_have_sentences(tmp_path: Path, seconds: int, steps: bool) -> None:
    incident = _incident(_write(tmp_path, {"GPU-0": _counters(), "cpu": lambda second: {}}, seconds, steps))
    assert incident.lines
    assert json.loads(json.dumps(incident.to_json(), allow_nan=False))["lines"] == incident.lines


def test_a_throttled_processor_is_told_beside_the_gpus(tmp_path: Path) -> None:
    devices = {"GPU-0": _counters(lambda second: False), "cpu": _counters()}
    incident = _incident(_write(tmp_path, devices))
    assert incident.lines[0] == "No throttling by heat was recorded in 10 min."
    assert incident.lines[1] == "cpu was throttled for 33 % of the time."
    assert [each.device for each in incident.devices] == ["GPU-0"]


def test_hardware_without_training_has_no_steps_to_compare(tmp_path: Path) -> None:
    lines = _lines(_write(tmp_path, {"rig": _counters()}, steps=False))
    assert lines[0].startswith("Heat slowed the device down (throttled it) for 33 %")
    assert "How much slower steps were while throttled cannot be told: no step was recorded." in lines


def test_simulated_hardware_says_so(tmp_path: Path) -> None:
    assert "the simulated GPU" in _lines(_write(tmp_path, {"simulated:gpu": _counters()}))[0]


def test_what_was_not_observed_is_said(tmp_path: Path) -> None:
    read = _counters()
    holes: Readings = lambda second: read(second) if second < 200 or second > 500 else {}  # noqa: E731
    line = _lines(_write(tmp_path, {"GPU-0": holes}))[0]
    assert "(of which 50 % was observed)" in line


def test_steps_at_evaluations_and_after_restarts_are_left_out(tmp_path: Path) -> None:
    run = _write(tmp_path, {"GPU-0": _counters()})
    before = _incident(run).slowdown
    marks = EventWriter(run.path, run.run_id, "marks")
    for second in range(5, 600, 30):
        marks.append("mark", START_NS + second * _S, mark="evaluation")
    marks.close()
    after = _incident(run).slowdown
    assert before.other_steps - after.other_steps == 2 * 20


def test_sixty_four_gpus_of_two_hosts(tmp_path: Path) -> None:
    names = [f"GPU-{host}{number:02}" for host in "ab" for number in range(32)]
    incident = _incident(_write(tmp_path, dict.fromkeys(names, _counters()), seconds=120))
    assert "at least one of 64" in incident.lines[0]
    assert len(incident.lines) <= 7
