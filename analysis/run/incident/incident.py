"""What heat cost a run, computed: for how long which device was throttled, and what became of the steps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from thermograd.analysis.run.energy import energy_doubt, run_energy
from thermograd.analysis.run.incident.result import HEATED, HeatOfDevice, Incident, RunEnergy
from thermograd.analysis.run.incident.sentences import incident_lines
from thermograd.analysis.run.incident.slowdown import Slowdown
from thermograd.analysis.run.incident.throttled_steps import share_of_any, slowdown_of
from thermograd.analysis.run.series import Device, RunSeries, load_series
from thermograd.store.runs.catalogue import Run
from thermograd.store.throttling.reasons import HEAT
from thermograd.store.throttling.spans import ThrottledSpans, throttled_spans
from thermograd.store.throttling.summary import throttling_of_spans

_POWER = "power"
_MOST_EVENTS = 3_000_000  # that are read to show a run: some seconds


def run_incident(data: RunSeries) -> Incident:
    """Return what heat cost a run: of its GPUs where any was sampled, else of all its devices."""
    gpus = [device for role, device in data.roles.items() if role.startswith("gpu ")]
    chosen = gpus or list(data.devices.values())
    others = [device for device in data.devices.values() if gpus and device not in gpus]
    energy = _energy(data, chosen)  # before the spans are held
    spans = [throttled_spans(device.table) for device in chosen]
    devices = [_heat_of(*each) for each in zip(chosen, spans, strict=True)]
    shares = {cause: _share(devices, cause) for cause in ("thermal", "brake", HEATED, _POWER)}
    by_power = not shares[HEATED] and bool(shares[_POWER])
    causes = ("power",) if by_power else HEAT
    telling = [each for each in spans if each.source(causes) is not None]
    found = slowdown_of(data, telling, causes) if telling else Slowdown(reason="no device tells it")
    workers = _workers(data, len(chosen))
    lost_h, low_h, high_h = (None, None, None) if by_power else _lost_h(found, workers)
    incident = Incident(
        accelerators=bool(gpus),
        simulated=any(device.simulated for device in chosen),
        devices=devices,
        others=[_heat_of(device, throttled_spans(device.table)) for device in others],
        recorded_s=_recorded_s(spans),
        shares=shares,
        any_device_share=share_of_any(telling, HEAT),
        episodes=_total(devices, "episodes"),
        worst=_worst(devices),
        slowed_by=_POWER if by_power else HEATED,
        slowdown=found,
        training_h=_training_h(data, workers),
        lost_h=lost_h,
        lost_low_h=low_h,
        lost_high_h=high_h,
        energy=energy,
    )
    return replace(incident, lines=incident_lines(incident))


def incident_shown(run: Run) -> dict[str, Any]:
    """Return what heat cost a run for ``thermograd show``; of a very long one, who tells it."""
    counts = run.counts()
    events = counts["step"] + counts["sample"]
    if events > _MOST_EVENTS:
        return {"lines": [f"Not worked out for {events:,} events; thermograd analyze {run.run_id} tells it."]}
    return run_incident(load_series(run)).to_json()


def _heat_of(device: Device, spans: ThrottledSpans) -> HeatOfDevice:
    temperature_c = device.signal("temperature_c")
    missing = device.facts.get("missing")
    why = (
        missing.get("clock_event_mask") or missing.get("throttled_thermal_ns")
        if isinstance(missing, dict)
        else ""
    )
    return HeatOfDevice(
        device=device.name,
        label=device.label,
        causes={row.pop("cause"): row for row in throttling_of_spans(spans, device.table)},
        max_temperature_c=None if temperature_c is None else _largest(temperature_c),
        why_unknown=str(why or ""),
    )


def _largest(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else None


def _total(devices: Sequence[HeatOfDevice], what: str, cause: str = HEATED) -> Any:
    """Return the sum over the devices that tell it; None where none does."""
    known = [row[what] for each in devices if (row := each.causes[cause]).get(what) is not None]
    return sum(known) if known else None


def _share(devices: Sequence[HeatOfDevice], cause: str) -> float | None:
    observed_s = _total(devices, "observed_s", cause)
    return _total(devices, "throttled_s", cause) / observed_s if observed_s else None


def _worst(devices: Sequence[HeatOfDevice]) -> str | None:
    ranked = [
        (each.share() or 0.0, each.max_temperature_c or -np.inf, each.device)
        for each in devices
        if each.share() is not None or each.max_temperature_c is not None
    ]
    return max(ranked)[-1] if ranked else None


def _recorded_s(spans: Sequence[ThrottledSpans]) -> float:
    seen = [each for each in spans if each.end_ns.size]
    if not seen:
        return 0.0
    return (max(int(each.end_ns[-1]) for each in seen) - min(int(each.begin_ns[0]) for each in seen)) / 1e9


def _workers(data: RunSeries, devices: int) -> int:
    """Return how many devices the training used: no more than it has processes, where that is known."""
    job = data.run.facts.get("job")
    world_size = job.get("world_size") if isinstance(job, dict) else None
    return min(devices, world_size) if isinstance(world_size, int) and world_size > 0 else devices


def _training_h(data: RunSeries, workers: int) -> float | None:
    return workers * data.training_s / 3600 if data.training_s > 0 else None


def _lost_h(found: Slowdown, workers: int) -> tuple[float | None, float | None, float | None]:
    """Return the device-hours lost and their interval: all devices wait for the slowest."""
    if found.lost_ratio is None:
        return None, None, None
    share, low, high = (workers * found.throttled_s / 3600 * ratio for ratio in found.lost_ratio)
    return share, low, high


def _energy(data: RunSeries, chosen: Sequence[Device]) -> RunEnergy | None:
    names = {device.name for device in chosen}
    known = [each for each in run_energy(data) if each.device in names]
    if not known:
        return None
    return RunEnergy(
        total_j=sum(each.total_j for each in known),
        sources=sorted({each.source for each in known}),
        devices=len(known),
        doubts=sorted({doubt for each in known if (doubt := energy_doubt(data, each))}),
    )
