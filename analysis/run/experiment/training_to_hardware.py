"""What pulses of the training did to each signal of each device."""

from dataclasses import replace

import numpy as np
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.experiment.pulses import analyze_pulses
from thermograd.analysis.experiment.result import Effect, Manipulation
from thermograd.analysis.run.experiment.exposure import SIGNALS, Exposure, bin_edges_ns, binned
from thermograd.analysis.run.series import RunSeries
from thermograd.store.experiment.schedules import Pulses
from thermograd.store.telling.columns import signal

SEPARATOR = "\x1f"  # between a signal and its device, in no name of either


def training_to_hardware(exposure: Exposure, planned_sd: float) -> tuple[list[Manipulation], list[Effect]]:
    """Return the checks of the manipulation, and the effect on each hardware signal of each device.

    A pulse has no check of its own: whether it moved a device is the question.
    """
    design = exposure.schedule.design
    assert isinstance(design, Pulses)
    edges = bin_edges_ns(exposure)
    outcomes = hardware_outcomes(exposure.data, edges)
    drawn = [exposure.schedule.assignment(index) for index in range(exposure.units)]
    effects = analyze_pulses(
        outcomes,
        np.repeat(np.arange(exposure.units), design.stratum_bins),
        [each.bin or 0 for each in drawn],
        [each.kind or design.kinds[0] for each in drawn],
        places=design.places,
        lag_bins=design.lag_bins,
        bin_s=float(np.median(np.diff(edges))) / 1e9,
        kinds=design.kinds,
        units={name: signal(name.partition(SEPARATOR)[0]).unit for name in outcomes},
        planned_sd=planned_sd,
    )
    return [], [_of_device(each) for each in effects]


def hardware_outcomes(data: RunSeries, edges: Times) -> dict[str, Floats]:
    """Return each device's signals that ever change, in the bins; by signal and device."""
    found = {}
    for device in data.devices.values():
        for name in SIGNALS:
            values = device.signal(name)
            if values is None:
                continue
            bins = binned(device.time_ns, values, edges)
            known = bins[np.isfinite(bins)]
            if known.size and np.ptp(known) > 0:
                found[f"{name}{SEPARATOR}{device.name}"] = bins
    return found


def _of_device(effect: Effect) -> Effect:
    name, _, device = effect.outcome.partition(SEPARATOR)
    return replace(effect, outcome=name, device=device)
