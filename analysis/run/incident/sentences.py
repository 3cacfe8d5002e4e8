"""What heat cost a run, in sentences for a person who knows nothing of the instrument."""

from thermograd.analysis.run.incident.result import HEATED, HeatOfDevice, Incident
from thermograd.store.efficiency.energy import COUNTER
from thermograd.store.telling.quantities import duration_text, energy_text

_SOURCES = {COUNTER: "the device's energy counter"}
_WHY = {"thermal": "heat", "brake": "the external power brake"}


def incident_lines(incident: Incident) -> list[str]:
    """Return one line for each thing that heat did to a run, the throttled time first."""
    lines = [_throttled(incident), *_not_telling(incident), *_others(incident), *_power_cap(incident)]
    lines += [*_steps(incident), *_lost(incident), *_worst(incident), *_energy(incident)]
    return lines


def _throttled(incident: Incident) -> str:
    if not incident.devices:
        return "Cannot tell whether heat slowed this run: no device was sampled."
    if not incident.telling:
        return _cannot_tell(incident)
    share, recorded = incident.shares[HEATED], duration_text(incident.recorded_s)
    if not share:
        return f"No throttling by heat was recorded in {recorded}{_seen(incident)}."
    by = "Heat" if incident.shares["thermal"] else "The external power brake"
    of = f"of the {recorded} recorded{_seen(incident)}"
    times = f"{incident.episodes:,} time{'s' * (incident.episodes != 1)}"
    each, noun, count = percent(share), _noun(incident), len(incident.telling)
    if count == 1:
        return f"{by} slowed the {noun} down (throttled it) for {each} {of}, {times}{_causes(incident)}."
    any_of_them = percent(incident.any_device_share or share)
    return (
        f"{by} slowed {noun}s down (throttled them): at least one of {count} for {any_of_them} {of}, "
        f"each for {each} on average, {times} in all{_causes(incident)}."
    )


def _causes(incident: Incident) -> str:
    """Return the causes with their shares where there is more than one."""
    known = [(name, incident.shares[cause]) for cause, name in _WHY.items()]
    named = [f"{name} {percent(share)}" for name, share in known if share]
    return f" ({', '.join(named)})" if len(named) > 1 else ""


def _noun(incident: Incident) -> str:
    return "simulated " * incident.simulated + ("GPU" if incident.accelerators else "device")


def _seen(incident: Incident) -> str:
    seen = incident.observed_share
    return f" (of which {percent(seen)} was observed)" if seen < 0.95 else ""


def _cannot_tell(incident: Incident) -> str:
    first, *others = incident.devices
    why = f"; {first.why_unknown}" if first.why_unknown else ""
    who = f"{first.label} does" if not others else f"none of its {len(incident.devices)} devices does"
    tells = (
        f"{who} not report whether it is throttled" if not others else f"{who} report whether it is throttled"
    )
    return f"Cannot tell whether heat slowed this run: {tells.replace(' does report', ' reports')}{why}."


def _not_telling(incident: Incident) -> list[str]:
    silent = len(incident.devices) - len(incident.telling)
    if not silent or not incident.telling:
        return []
    return [
        f"{silent} of {len(incident.devices)} {_noun(incident)}s do not report whether they are throttled."
    ]


def _others(incident: Incident) -> list[str]:
    return [
        f"{each.label} was throttled for {percent(share)} of the time."
        for each in incident.others
        if (share := each.share())
    ]


def _power_cap(incident: Incident) -> list[str]:
    share = incident.shares["power"]
    if not share:
        return []
    return [
        f"The power cap held the clock down for {percent(share)} of the time, which is usual under full load."
    ]


def _steps(incident: Incident) -> list[str]:
    found = incident.slowdown
    if not incident.shares[incident.slowed_by]:
        return []
    state = "throttled" if incident.slowed_by == HEATED else "at the power cap"
    if found.ratio is None:
        return [f"How much slower steps were while {state} cannot be told: {found.reason}."]
    if found.low is None or found.high is None:
        return [f"Steps took {found.ratio:.2f} times as long while {state}, but that was {found.reason}."]
    ratio, low, high = _apart(found.ratio, found.low, found.high)
    sure = f"95 % interval {low} to {high}, from {found.stretches:,} stretches and the steps around each"
    shown = "" if found.slower or found.high < 1 else "were not shown to be slower; they "
    return [f"Steps {shown}took {ratio} times as long while {state} ({sure})."]


def _apart(value: float, low: float, high: float) -> list[str]:
    """Return a number and its interval with one more decimal than two where its ends would look alike."""
    decimals = 2 if f"{low:.2f}" != f"{high:.2f}" else 3
    return [f"{each:.{decimals}f}" for each in (value, low, high)]


def _lost(incident: Incident) -> list[str]:
    lost, low, high, of = incident.lost_h, incident.lost_low_h, incident.lost_high_h, incident.training_h
    if lost is None or low is None or high is None or not of or not incident.shares[HEATED]:
        return []
    scale, unit = (1.0, "hours") if of >= 1 else (60.0, "minutes")
    about, least, most = _apart(scale * lost, scale * low, scale * high)
    whole = f"{scale * of:,.1f} {'GPU-' * incident.accelerators}{unit}"
    if not incident.slowdown.slower:
        return [f"At most {most} of {whole} were lost to it."] if high > 0 else []
    return [f"If heat is why, about {about} of {whole} were lost ({least} to {most})."]


def _worst(incident: Incident) -> list[str]:
    worst = next((each for each in incident.devices if each.device == incident.worst), None)
    if worst is None:
        return []
    hottest = _hottest(worst)
    if len(incident.devices) == 1:
        return [f"Hottest: {hottest}."] if hottest else []
    share = worst.share()
    parts = [f"throttled for {percent(share)} of the time"] if share else []
    parts += [f"up to {hottest}"] if hottest else []
    return [f"{'Worst' if share else 'Hottest'}: {worst.label}, {', '.join(parts)}."] if parts else []


def _hottest(device: HeatOfDevice) -> str:
    return "" if device.max_temperature_c is None else f"{device.max_temperature_c:.0f} degC"


def _energy(incident: Incident) -> list[str]:
    energy = incident.energy
    if energy is None:
        return []
    known, count = energy.devices, len(incident.devices)
    of = "" if count == 1 else f" of {known} of {count} devices" if known < count else f" of {count} devices"
    doubt = f", no measurement: power is {energy.doubts[0]}" if energy.doubts else ""
    sources = " and ".join(_SOURCES.get(source, source) for source in energy.sources)
    return [f"Energy{of}: {energy_text(energy.total_j)} (from {sources}{doubt})."]


def percent(share: float) -> str:
    """Return a share in percent: as many digits as a person reads, never 0 where there was some.

    Examples
    --------
    >>> percent(0.4278), percent(0.05), percent(1e-6), percent(0.9999), percent(1.0), percent(0.0)
    ('43 %', '5.0 %', 'under 0.1 %', 'over 99 %', '100 %', '0 %')
    """
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.001:
        return "under 0.1 %"
    return "over 99 %" if share > 0.99 else f"{100 * share:.{1 if share < 0.0995 else 0}f} %"
