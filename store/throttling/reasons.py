"""Why a driver lowers a clock: the causes, their counters, and the bits of `clock_event_mask` that tell them.

A device that idles, or whose clocks a person set lower, is not throttled: those bits are no cause.
"""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Cause = Literal["thermal", "brake", "power"]

# nvmlDeviceGetCurrentClocksEventReasons
IDLE = 0x1
_POWER_CAP = 0x4
_HW_SLOWDOWN = 0x8
_THERMAL = 0x20 | 0x40
_BRAKE = 0x80


def is_thermal(mask: Any) -> Any:
    """Return whether heat is a reason; a hardware slowdown that is not the brake is heat.

    This and its like take a mask as an integer or an array of them.

    >>> is_thermal(0x20), is_thermal(0x8), is_thermal(0x88), is_thermal(0x1)
    (True, True, False, False)
    """
    return ((mask & _THERMAL) != 0) | (((mask & _HW_SLOWDOWN) != 0) & ((mask & _BRAKE) == 0))


def is_brake(mask: Any) -> Any:
    """Return whether the external power brake is a reason."""
    return (mask & _BRAKE) != 0


def is_power_cap(mask: Any) -> Any:
    """Return whether the power cap is a reason, as is usual under full load."""
    return (mask & _POWER_CAP) != 0


COUNTERS: dict[Cause, str] = {
    "thermal": "throttled_thermal_ns",
    "brake": "throttled_brake_ns",
    "power": "throttled_power_ns",
}
BITS: "dict[Cause, Callable[[Any], Any]]" = {
    "thermal": is_thermal,
    "brake": is_brake,
    "power": is_power_cap,
}
HEAT: tuple[Cause, ...] = ("thermal", "brake")  # what is no normal operation
