"""Where the coupling monitor of a run stands, as the agent leaves it beside the log for who looks."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from thermograd.store.failures import Guard
from thermograd.stream.join.coupling_alerts import NOTABLE_EXCESS, CouplingEvidence
from thermograd.stream.join.device_pairs import DevicePairs

RUN_BOUND = 20.0  # reached by one uncoupled device in twenty at most, in its whole run
_PERIOD_S = 2.0
_log = logging.getLogger("thermograd")

Leave = Callable[[Mapping[str, Any]], None]


def standing_of(pairs: DevicePairs, time_ns: int) -> dict[str, Any]:
    """Return the evidence of coupling of each device and pair at an event time, and its bounds."""
    devices: dict[str, dict[str, CouplingEvidence]] = {}
    for (_, device, column), pair in pairs.coupling().items():
        devices.setdefault(device, {})[column] = pair
    return {
        "time_ns": time_ns,
        "bound": RUN_BOUND,
        "alarm_bound": pairs.alarm_bound,
        "devices": {name: _of_device(found) for name, found in devices.items()},
    }


def _of_device(pairs: Mapping[str, CouplingEvidence]) -> dict[str, Any]:
    known = list(pairs.values())
    return {
        "e_value": sum(pair.run_e_value for pair in known) / len(known),
        "alarm_e_value": sum(pair.e_value for pair in known) / len(known),
        "withheld": max(pair.withheld for pair in known),
        "is_taxed": any(pair.excess > NOTABLE_EXCESS for pair in known),
        "pairs": {column: pair._asdict() for column, pair in pairs.items()},
    }


class StandingKept:
    """Leaves where a monitor stands every two seconds at most, where it has moved; a failure is told once."""

    def __init__(self, leave: Leave) -> None:
        self._leave, self._time_ns, self._left_s = leave, 0, -_PERIOD_S
        self._guard = Guard(
            "thermograd's agent cannot leave its evidence for the live page: %(error)s", _log.debug
        )

    def keep(self, pairs: DevicePairs, time_ns: int, at_end: bool = False) -> None:
        """Leave it, where it is time."""
        now_s = time.monotonic()
        if not at_end and (time_ns <= self._time_ns or now_s - self._left_s < _PERIOD_S):
            return
        self._left_s = now_s
        with self._guard:
            self._leave(standing_of(pairs, time_ns))
            self._time_ns = time_ns
