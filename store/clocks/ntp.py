"""What the kernel knows of its clock's synchronisation, without privileges: Linux alone tells it."""

import ctypes
import json
import sys
from typing import Any

_NANO, _UNSYNCHRONISED = 0x2000, 0x40  # bits of timex.status
_ERROR_STATE = 5  # what adjtimex returns for a clock that is not synchronised
_PPM_UNITS = 65536.0


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, with room for what later kernels add."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *(
            (name, ctypes.c_long)
            for name in ("constant", "precision", "tolerance", "seconds", "fraction", "tick")
        ),
        ("room", ctypes.c_long * 32),
    )


def ntp_state() -> dict[str, Any] | None:
    """Return how well this host's clock is kept: asked of the kernel, which NTP, chrony or PTP tell it.

    ``synchronised``; ``offset_s`` that is being corrected, ``max_error_s`` and ``estimated_error_s`` as
    the service says, ``frequency_ppm`` of the correction. None outside Linux, or without an answer.
    """
    if not sys.platform.startswith("linux"):
        return None
    timex = _Timex()  # modes 0: only read, which needs no privilege
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    unit_s = 1e-9 if timex.status & _NANO else 1e-6
    return {
        "synchronised": state != _ERROR_STATE and not timex.status & _UNSYNCHRONISED,
        "offset_s": timex.offset * unit_s,
        "max_error_s": timex.maxerror * 1e-6,
        "estimated_error_s": timex.esterror * 1e-6,
        "frequency_ppm": timex.freq / _PPM_UNITS,
    }


def ntp_mark(state: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the `clock` mark that records a state of the time service.

    >>> ntp_mark({"synchronised": True, "max_error_s": 0.012})["text"]
    "the host's clock is synchronised, within 12 ms"
    """
    kept = f"synchronised, within {1e3 * state['max_error_s']:.3g} ms"
    text = f"the host's clock is {kept if state['synchronised'] else 'not synchronised'}"
    return {"mark": "clock", "text": text, "detail": json.dumps({"ntp": state})}


class TimeService:
    """Tells what is new of the host's time service: at first, and when it comes or goes."""

    def __init__(self) -> None:
        self._was: bool | None = None

    def news(self) -> dict[str, Any] | None:
        """Return a mark's columns, None where nothing has changed or nothing is known."""
        state = ntp_state()
        if state is None or state["synchronised"] == self._was:
            return None
        self._was = state["synchronised"]
        return ntp_mark(state)
