"""A population in words."""

from thermograd.analysis.fleet.population.population import Compared, DeviceStanding, Population
from thermograd.analysis.fleet.population.standing import ENOUGH_OTHERS, place_among
from thermograd.store.telling.devices import short_model
from thermograd.store.telling.quantities import counted

_NAMES = {
    "power_w": "power",
    "temperature_c": "temperature",
    "throttled_ratio": "share of the time throttled for heat",
    "step_time_s": "step time",
    "energy_per_step_j": "energy a step",
}


def standing_sentence(found: Compared, device: DeviceStanding) -> str:
    """Return where a device stands: "power at 1,980 MHz: 4th percentile of 812 H100"."""
    name = _NAMES[found.metric]
    if found.at is not None:
        name += f" at {found.at:,.0f} {found.at_unit}"
    if found.percentile is None or found.low is None or found.high is None:
        return f"{name}: {found.reason}"
    model = short_model(device.model)
    among = model + (" of the same training" if _is_per_training(found) else "")
    if found.others >= ENOUGH_OTHERS:
        among = f"of {found.others:,} {among}"
    said = f"{name}: {place_among(found.percentile, found.others)} {among}"
    return f"{said} (95 %: {found.low:.0f} to {found.high:.0f})" + (", unusual" if found.unusual else "")


def _is_per_training(found: Compared) -> bool:
    return found.metric in ("step_time_s", "energy_per_step_j")


def describe_population(population: Population) -> str:
    """Return how a run's devices stand, with what was matched, what was not, and how sure it is."""
    common = _common(population)
    lines = []
    for device in population.devices:
        own = [said for each in device.metrics if (said := _line(each, device)) not in common]
        lines += [_title(device), *(f"  {said}" for said in own)] if own else []
    if common:
        lines.append(f"each of {counted(len(population.devices), 'device')}")
        lines += [f"  {said}" for said in common]
    if not lines:
        return "No device was sampled in this run: there is nothing to compare."
    lines += ["", *_notes(population)]
    return "\n".join(lines)


def _common(population: Population) -> list[str]:
    """Return what is said of every device alike, where there are more than two: that is said once."""
    said = [[_line(each, device) for each in device.metrics] for device in population.devices]
    return [line for line in said[0] if all(line in other for other in said[1:])] if len(said) > 2 else []


def _title(device: DeviceStanding) -> str:
    parts = [device.model or "model not recorded"] if device.model not in device.label else []
    parts += [device.part] if device.part else []
    parts += [f"limit {device.power_limit_w:,.0f} W"] if device.power_limit_w is not None else []
    parts += ["SIMULATED"] if device.simulated else []
    return f"{device.label}: {', '.join(parts)}" if parts else device.label


def _line(found: Compared, device: DeviceStanding) -> str:
    said = standing_sentence(found, device)
    return f"{said}; here {_value(found)}" if found.percentile is not None else said


def _value(found: Compared) -> str:
    assert found.value is not None
    if found.metric == "throttled_ratio":
        return f"{100 * found.value:.1f} %"
    return f"{found.value:,.4g} {found.unit}"


def _notes(population: Population) -> list[str]:
    compared = [each for device in population.devices for each in device.metrics if each.p is not None]
    notes = []
    if compared:
        fewest = min(each.others for each in compared)
        notes.append(
            f"{counted(population.tests, 'comparison')}, corrected together (Holm): "
            + (_flagged(population) or "nothing is unusual.")
        )
        if fewest < population.others_needed:
            notes.append(
                f"Before one of so many can stand out it takes {population.others_needed:,} others; "
                f"the smallest population here has {fewest:,}."
            )
        confounds = dict.fromkeys(f"{_NAMES[each.metric]}: {each.confounds}" for each in compared)
        notes.append(
            "Model, power limit, MIG and clock or power are matched; each device counts once (median over "
            f"its runs). Not matched, so it may be the reason: {'; '.join(confounds)}."
        )
    notes += [f"Not read: {run}: {why}" for run, why in list(population.errors.items())[:5]]
    return notes


def _flagged(population: Population) -> str:
    found = [
        f"{device.label}, {_NAMES[each.metric]} (p = {each.p_adjusted:.2g})"
        for device in population.devices
        for each in device.metrics
        if each.unusual
    ]
    return f"unusual: {'; '.join(found)}." if found else ""
