"""What heat cost a run: the numbers and their sentences."""

from dataclasses import asdict, dataclass, field
from typing import Any

from thermograd.analysis.run.incident.slowdown import Slowdown
from thermograd.store.text import without_nan

HEATED = "thermal or brake"  # the cause, as in the view `throttling`, that is no normal operation


@dataclass(frozen=True, slots=True)
class HeatOfDevice:
    """How hot one device was, and for how long it was throttled; what is not known is None."""

    device: str
    label: str
    # causes: the rows of the view `throttling` by cause: source, observed_s, throttled_s, share, episodes,
    # longest_s, max_temperature_c
    causes: dict[str, dict[str, Any]]
    max_temperature_c: float | None  # at any time, degC
    why_unknown: str = ""  # the device's own reason why it does not tell; may be empty

    def share(self, cause: str = HEATED) -> float | None:
        """Return the share of the observed time in which it was throttled for a cause."""
        found: float | None = self.causes[cause].get("share")
        return found


@dataclass(frozen=True, slots=True)
class RunEnergy:
    """The energy of some devices over the whole recording."""

    total_j: float
    sources: list[str]
    devices: int  # of which it is
    doubts: list[str]


@dataclass(frozen=True, slots=True)
class Incident:
    """What heat cost a run; what is not known is None."""

    accelerators: bool  # whether the devices are GPUs; else all that were sampled
    simulated: bool
    devices: list[HeatOfDevice]
    others: list[HeatOfDevice]  # the rest that was sampled: beside GPUs a processor
    recorded_s: float
    shares: dict[str, float | None]  # by cause, of the observed time of all devices
    any_device_share: float | None  # share of the time in which at least one was throttled by heat or brake
    episodes: int | None
    worst: str | None  # the device throttled for the largest share of its time; of equal ones the hottest
    slowed_by: str  # the cause in question: "thermal or brake", or "power" where there was nothing else
    slowdown: Slowdown
    training_h: float | None  # device-hours
    # lost_h, with its interval: device-hours that faster steps would have saved; None where the ratio has no
    # interval, and for the power cap, which comes with the load itself
    lost_h: float | None
    lost_low_h: float | None
    lost_high_h: float | None
    energy: RunEnergy | None
    # lines: all this in sentences, the throttled time first
    lines: list[str] = field(default_factory=list)

    @property
    def observed_share(self) -> float:
        """Share of the recording in which the throttling of the devices that tell it was observed."""
        known = [each.causes[HEATED]["observed_s"] for each in self.telling]
        return sum(known) / (len(known) * self.recorded_s) if known and self.recorded_s else 0.0

    @property
    def telling(self) -> list[HeatOfDevice]:
        """The devices that tell whether they are throttled."""
        return [each for each in self.devices if each.share() is not None]

    def to_json(self) -> dict[str, Any]:
        """Return the incident as JSON."""
        document: dict[str, Any] = without_nan(asdict(self))
        return document
