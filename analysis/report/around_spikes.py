"""What each hardware signal does around the spikes of the gradient norm, as the analysis found it."""

from dataclasses import dataclass

from thermograd.analysis.run.result import Analysis


@dataclass(frozen=True, slots=True, eq=False)
class AroundSpikes:
    """The mean course of one hardware signal around spikes.

    Attributes
    ----------
    label, unit
        Device and signal for a person; unit of what follows.
    offset_s, mean, low, high
        Seconds after the spike; mean change against quiet times, and its 95 % interval at each.
    effect, effect_low, effect_high
        Mean change after a spike, with its 95 % interval.
    n_spikes, n_spikes_found, n_controls
        Spikes used, all of them, and quiet windows.
    """

    label: str
    unit: str
    offset_s: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    effect: float
    effect_low: float
    effect_high: float
    n_spikes: int
    n_spikes_found: int
    n_controls: int


def around_spikes(analysis: Analysis) -> tuple[list[AroundSpikes], str]:
    """Return the courses of ``spike_locked``, and why there is none where there is none."""
    found = [entry for entry in analysis.spike_locked if not entry["reasons"]]
    said = [reason for entry in analysis.spike_locked for reason in entry["reasons"]]
    numbers = ("offset_s", "mean", "low", "high", "effect", "effect_low", "effect_high")
    counts = ("n_spikes", "n_spikes_found", "n_controls")
    courses = [
        AroundSpikes(
            label=f"{entry['y']}, {_device(analysis, entry['device'])}",
            unit=str(entry["unit"]).replace("degC", "°C"),
            **{name: entry[name] for name in (*numbers, *counts)},
        )
        for entry in found
    ]
    reason = next(iter(said), "The gradient norm and a temperature, power or clock were not tested together.")
    return courses, "" if courses else reason


def _device(analysis: Analysis, name: str) -> str:
    return f"{name} (simulated)" if name in analysis.simulated and "simulated" not in name else name
