"""When each device was throttled and by which cause, as lanes below the panels: a row a device."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.telling.quantities import few_of
from thermograd.store.throttling.reasons import Cause
from thermograd.store.throttling.spans import ThrottledSpans, throttled_spans

CAUSE_NAMES: dict[Cause, str] = {
    "thermal": "throttled by heat",
    "brake": "slowed by the power brake",
    "power": "held at the power cap",
}
STRETCHES = 200  # of a lane
_LEVELS = 4  # of how dark a stretch is: neighbours that are alike are one
_FEW, _MOST_LANES = (
    8,
    64,
)  # devices that all have a lane; of more those that were throttled, the most of these
_MOST_NAMED = 3


class Stretch(NamedTuple):
    """From when until when a device was throttled by a cause, s, and for how much of that time."""

    start_s: float
    end_s: float
    share: float


@dataclass(frozen=True, eq=False)
class Lane:
    """One device: its stretches by cause, and for how long of the recorded time each cause held it back."""

    device: str
    label: str
    stretches: dict[Cause, list[Stretch]]
    shares: dict[Cause, float]


@dataclass(frozen=True)
class Lanes:
    """The lanes of a run, in the order of its devices, of many those that were throttled.

    `told` is how many devices say what slows them.
    """

    lanes: tuple[Lane, ...] = ()
    told: int = 0

    @property
    def causes(self) -> list[Cause]:
        """The causes that are drawn, the gravest first."""
        return [cause for cause in CAUSE_NAMES if any(lane.stretches[cause] for lane in self.lanes)]

    def named(self, cause: Cause) -> str:
        """Return a cause for a legend, with how many devices it held back where not each has a lane."""
        held = sum(bool(lane.stretches[cause]) for lane in self.lanes)
        return (
            f"{CAUSE_NAMES[cause]}: {held} of {self.told} devices" if self.told > _FEW else CAUSE_NAMES[cause]
        )

    def sentence(self) -> str:
        """Return who was throttled, why and how long, in words; empty where no device tells."""
        if not self.told:
            return ""
        if not self.causes:
            return f"None of the {self.told} devices was throttled." if self.told > 1 else "Never throttled."
        return " ".join(self._of(cause) for cause in self.causes)

    def _of(self, cause: Cause) -> str:
        held = sorted(
            (lane for lane in self.lanes if lane.stretches[cause]), key=lambda lane: -lane.shares[cause]
        )
        shares = [100 * lane.shares[cause] for lane in held]
        ends = f"{shares[-1]:.2g} to {shares[0]:.2g}" if len(shares) > 1 else f"{shares[0]:.2g}"
        who = few_of([lane.label for lane in held], _MOST_NAMED)
        some = f" {len(held)} of {self.told} devices" if self.told > 1 else ""
        return f"{CAUSE_NAMES[cause].capitalize()}:{some} for {ends} % of the time ({who})."


def throttling_lanes(data: RunSeries, origin_ns: int, end_s: float) -> Lanes:
    """Return the lanes of the devices that tell, of very many those that were throttled most."""
    every = [
        _lane(device, spans, origin_ns, end_s)
        for device in data.devices.values()
        for spans in [throttled_spans(device.table)]
        if any(spans.sources.values())
    ]
    telling = every if len(every) <= _FEW else [lane for lane in every if any(lane.stretches.values())]
    kept = sorted(telling, key=lambda lane: -sum(lane.shares.values()))[:_MOST_LANES]
    names = {lane.device for lane in kept}
    return Lanes(tuple(lane for lane in every if lane.device in names), len(every))


def _lane(device: Device, spans: ThrottledSpans, origin_ns: int, end_s: float) -> Lane:
    observed_s = {
        cause: float(spans.elapsed_s[np.isfinite(spans.seconds[cause])].sum()) for cause in CAUSE_NAMES
    }
    seconds = {cause: np.nan_to_num(spans.seconds[cause]) for cause in CAUSE_NAMES}
    edges = np.linspace(0.0, end_s, STRETCHES + 1)
    ends_s = (np.append(spans.begin_ns[:1], spans.end_ns) - origin_ns) / 1e9
    stretches = {cause: _stretches(ends_s, seconds[cause], edges) for cause in CAUSE_NAMES}
    shares = {cause: float(seconds[cause].sum()) / (observed_s[cause] or 1.0) for cause in CAUSE_NAMES}
    return Lane(device.name, device.label, stretches, shares)


def _stretches(ends_s: Floats, throttled_s: Floats, edges: Floats) -> list[Stretch]:
    """Return where a device was throttled, in equal stretches; those alike and side by side as one."""
    if not throttled_s.any():
        return []
    lasted = np.interp(edges, ends_s, np.append(0.0, np.cumsum(throttled_s)))
    share = np.clip(np.diff(lasted) / np.diff(edges), 0.0, 1.0)
    level = np.ceil(_LEVELS * np.where(share > 1e-9, share, 0.0)).astype(int)
    first = np.flatnonzero(np.diff(level, prepend=0) != 0)
    stop = np.append(first[1:], level.size)
    return [
        Stretch(float(edges[a]), float(edges[b]), float(level[a]) / _LEVELS)
        for a, b in zip(first, stop, strict=True)
        if level[a]
    ]
