"""Many devices in one panel: a band from the lowest to the highest, and curves for those that matter.

Of more devices than a reader can tell apart by colour, most do alike. What differs is named: the device that
is coupled, the hottest, the most throttled, the slowest, the least used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.display.palette import DEVICE_COLOURS
from thermograd.analysis.report.data.curves import Band
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.telling.devices import short_model

_MOST_NAMED = 3  # devices with a curve over the band
_THROTTLED = 0.005  # share of the time from which a device is named for it
_LONGEST = 28  # letters of a name beside which stands why it is named
_SLOWER, _IDLER = 0.01, 0.05  # below the middle of all devices

Curve = tuple[Floats, Floats]  # time_s and values, shape (n,)


@dataclass(frozen=True)
class Cast:
    """Which devices have a curve of their own, by name with their label, and which are a band together."""

    alone: dict[str, str]
    together: tuple[str, ...] = ()
    label: str = ""  # of the band
    left_out: tuple[str, ...] = field(default=())


def cast_devices(data: RunSeries, coupled: Sequence[str] = ()) -> Cast:
    """Choose what is drawn of a run's devices; `coupled` are those whose coupling was found, by name."""
    labels = {name: device.label for name, device in data.devices.items()}
    if len(labels) <= len(DEVICE_COLOURS):
        return Cast(labels)
    gpus = [device.name for role, device in data.roles.items() if role.startswith("gpu ")]
    group = gpus if len(gpus) > _MOST_NAMED else list(labels)
    rest = [name for name in labels if name not in group]
    named = _named([data.devices[name] for name in group], coupled)
    alone = {
        name: f"{without_middle(labels[name], _LONGEST)}: {', '.join(why)}" for name, why in named.items()
    }
    room = len(DEVICE_COLOURS) - len(alone)
    alone |= {name: labels[name] for name in rest[:room]}
    label = f"all {len(group)} {_kind(data, group)}, lowest to highest"
    return Cast(alone, tuple(group), label, tuple(rest[room:]))


def _kind(data: RunSeries, group: Sequence[str]) -> str:
    """Return what many devices are called together: their model where they have one."""
    models = {str(data.devices[name].facts.get("model") or "") for name in group}
    only = short_model(models.pop()) if len(models) == 1 else ""
    return only or ("GPUs" if any(role.startswith("gpu ") for role in data.roles) else "devices")


def _named(devices: list[Device], coupled: Sequence[str]) -> dict[str, list[str]]:
    """Return the few devices that matter, the most telling first, each with why."""
    names = [device.name for device in devices]
    found: dict[str, list[str]] = {name: ["coupled"] for name in coupled if name in names}
    for why, name in (
        ("hottest on average", _outstanding(devices, "temperature_c", max, lambda value, _: True)),
        (
            "most throttled",
            _outstanding(devices, "throttled_ratio", max, lambda value, _: value > _THROTTLED),
        ),
        ("slowest clock", _outstanding(devices, "sm_clock_mhz", min, _below(_SLOWER))),
        ("least used", _outstanding(devices, "utilization_pct", min, _below(_IDLER))),
    ):
        if name is not None:
            found.setdefault(name, []).append(why)
    return dict(list(found.items())[:_MOST_NAMED])


def _below(share: float) -> Callable[[float, float], bool]:
    return lambda value, middle: value < (1 - share) * middle


def _outstanding(
    devices: list[Device],
    signal: str,
    extreme: Callable[..., str],
    counts: Callable[[float, float], bool],
) -> str | None:
    """Return the device whose mean is the most extreme, where that counts beside the middle of all."""
    means: dict[str, float] = {}
    for device in devices:
        values = device.signal(signal)
        if values is not None and device.measures(signal):
            means[device.name] = float(values[np.isfinite(values)].mean())
    if len(means) < 2:
        return None
    name = extreme(means, key=means.__getitem__)
    return name if counts(means[name], float(np.median(list(means.values())))) else None


def make_band(label: str, curves: Mapping[str, Curve], end_s: float, most: int) -> Band | None:
    """Return lowest, middle and highest of several devices' curves in equal stretches of time.

    A stretch holds several readings of a usual device, so that a band has no hole by chance; there are at
    most so many. None for no value.
    """
    sizes = [values.size for _, values in curves.values()]
    if not sizes:
        return None
    stretches = max(1, min(most, int(np.median(sizes)) // 3))
    low, high = np.full(stretches, np.inf), np.full(stretches, -np.inf)
    means = np.full((len(sizes), stretches), np.nan)
    for row, (time_s, values) in enumerate(curves.values()):
        place, first = np.unique(_places(time_s, end_s, stretches), return_index=True)
        low[place] = np.minimum(low[place], np.minimum.reduceat(values, first))
        high[place] = np.maximum(high[place], np.maximum.reduceat(values, first))
        means[row, place] = np.add.reduceat(values, first) / np.diff(np.append(first, values.size))
    filled = np.isfinite(low)
    middle = np.full(stretches, np.nan)
    middle[filled] = np.nanmedian(means[:, filled], axis=0)
    time_s = (np.arange(stretches) + 0.5) * end_s / stretches
    gap = np.where(filled, 0.0, np.nan)
    low, middle, high = (np.pad(course, 1, mode="edge") for course in (low + gap, middle, high + gap))
    return Band(label, len(sizes), np.concatenate([[0.0], time_s, [end_s]]), low, middle, high, sum(sizes))


def _places(time_s: Floats, end_s: float, stretches: int) -> Floats:
    return np.clip((time_s * (stretches / end_s)).astype(np.int64), 0, stretches - 1)
