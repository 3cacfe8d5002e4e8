"""Parts of the report with the key figures of the run, and its energy."""

from thermograd.analysis.display.markup import Html, element, items, table
from thermograd.analysis.report.data.hardware import device_label, missing_reason
from thermograd.analysis.run.energy import DeviceEnergy, run_energy
from thermograd.analysis.run.series import RunSeries

_DASH = "–"


def energy_text(joules: float | None) -> str:
    """Return an energy in a unit that fits it.

    Examples
    --------
    >>> energy_text(0.5), energy_text(12_345.0), energy_text(7.2e6), energy_text(None)
    ('0.5 J', '12.3 kJ', '2 kWh', '–')
    """
    if joules is None:
        return _DASH
    if joules >= 3.6e6:
        return f"{joules / 3.6e6:.3g} kWh"
    return f"{joules / 1e3:.3g} kJ" if joules >= 1e3 else f"{joules:.3g} J"


def energy_section(data: RunSeries) -> Html:
    """Return the energy of each device over the training and per step, and where it is from."""
    title = element("h2", "Energy", id="energy")
    found = run_energy(data)
    if not found:
        why = (
            "no device was sampled"
            if not data.devices
            else "no device has an energy counter or a power sensor"
        )
        return Html(title + element("p", f"Not known: {why} in this run.", class_="empty"))
    rows = [_row(data, energy) for energy in found]
    names = (
        "Device",
        "From",
        "Whole recording",
        "Training",
        "Per step",
        "Middle 90 % of steps",
        "n steps",
        "Covered",
    )
    text = (
        "Joules of the whole device, not of the training alone. Per step: the training's energy over "
        "its steps; "
        "the middle 90 % are the steps' own energies, between their 5th and 95th percentile. "
        "Covered: share of "
        "the training in which readings tell the energy; the rest counts as none."
    )
    known = {energy.device for energy in found}
    absent = [
        f"{device_label(device)}: not known, no power sensor"
        + (f" ({reason})" if (reason := missing_reason(device, "power_w")) else "")
        for name, device in data.devices.items()
        if name not in known
    ]
    doubts = [
        f"{energy.device}: power_w is {doubt}, so its energy is no measurement."
        for energy in found
        if (doubt := energy_doubt(data, energy))
    ]
    shown = table(names, rows, "itnnnnnn", "Energy by device", stack=True)
    return Html(
        title + shown + items([*doubts, *absent], class_="note plain") + element("p", text, class_="note")
    )


def energy_doubt(data: RunSeries, energy: DeviceEnergy) -> str:
    """Return what the run's facts doubt of the power behind an energy; may be empty."""
    suspect = data.devices[energy.device].facts.get("suspect")
    found = (
        suspect.get("power_w") if isinstance(suspect, dict) and energy.source != "energy counter" else None
    )
    return str(found) if found else ""


def _row(data: RunSeries, energy: DeviceEnergy) -> tuple[str, ...]:
    low, high = energy.low_per_step_j, energy.high_per_step_j
    return (
        device_label(data.devices[energy.device]),
        energy.source,
        energy_text(energy.total_j),
        energy_text(energy.training_j),
        energy_text(energy.mean_per_step_j),
        _DASH if low is None or high is None else f"{energy_text(low)} to {energy_text(high)}",
        f"{energy.steps:,}",
        _DASH if energy.covered_ratio is None else f"{100 * energy.covered_ratio:.1f} %",
    )
