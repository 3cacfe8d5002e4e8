"""What is read of an NVIDIA GPU: field numbers of ``nvml.h``, their units, and error codes.

A field is read in one batched call with all others of its tier. Numbers, not pynvml's names: names are
missing in older versions, and NVIDIA has given some numbers a new meaning (see `throttle_fields`), so it
is the driver's version that counts, not pynvml's.
"""

import re
from typing import NamedTuple


class Reading(NamedTuple):
    """A column that is the sum of some fields, times a scale; `whole` for counters."""

    fields: tuple[int, ...]
    scale: float = 1.0
    whole: bool = False


TEMPERATURE_FIELD = 308  # degC below a degree, as a double; drivers of 2026
FAST_FIELDS = {
    "power_w": Reading((186,), 1e-3),
    "power_w_average": Reading((185,), 1e-3),
    "energy_j": Reading((83,), 1e-3),
    "memory_temperature_c": Reading((82,)),
    "throttled_power_ns": Reading((74,), whole=True),
}
SLOW_FIELDS = {
    "ecc_corrected": Reading((3,), whole=True),
    "ecc_uncorrected": Reading((4,), whole=True),
    "pcie_replays": Reading((94,), whole=True),
}
# Ada and newer give margins to a limit ("T.Limit"), not temperatures: never compare them with a reading.
MARGINS = {
    "shutdown_t_limit_c": 193,
    "slowdown_t_limit_c": 194,
    "memory_max_t_limit_c": 195,
    "gpu_max_t_limit_c": 196,
}

_XIDS = {
    13: "graphics engine exception",
    31: "GPU memory page fault",
    43: "GPU stopped processing",
    45: "preemptive cleanup after an earlier error",
    48: "double-bit memory error",
    63: "row remapped",
    64: "row could not be remapped",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "no answer from the GPU's system processor",
}


def throttle_fields(driver_version: str) -> dict[str, Reading]:
    """Return the fields that count throttled time, ns, in a driver: they cannot miss a short throttle.

    nvml.h of 575.51 to 580.65 has software thermal, hardware thermal and brake at 251 to 253; from 580.82
    on they are 269 to 271, and 251 to 253 are settings of power smoothing. Earlier drivers, and those in
    between whose header we have not seen, give only the thermal policy's counter (75), which does not
    count the hardware's own slowdown.

    >>> throttle_fields("590.44.01")["throttled_thermal_ns"].fields
    (269, 270)
    >>> throttle_fields("535.161.08")
    {'throttled_thermal_ns': Reading(fields=(75,), scale=1.0, whole=True)}
    """
    match = re.match(r"(\d+)\.(\d+)", driver_version)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    first = 269 if version >= (580, 82) else 251 if (575, 0) <= version <= (580, 65) else None
    if first is None:
        return {"throttled_thermal_ns": Reading((75,), whole=True)}
    return {
        "throttled_thermal_ns": Reading((first, first + 1), whole=True),
        "throttled_brake_ns": Reading((first + 2,), whole=True),
    }


def xid_text(xid: int) -> str:
    """Return an XID error with what it usually means.

    >>> xid_text(79), xid_text(999)
    ('XID 79 (GPU has fallen off the bus)', 'XID 999')
    """
    return f"XID {xid} ({_XIDS[xid]})" if xid in _XIDS else f"XID {xid}"
