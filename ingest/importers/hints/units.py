"""The units that a log's numbers may be in, and how each becomes the unit of our column: one table, once."""

import re
from typing import NamedTuple

from thermograd.ingest.importers.hints.given import Hints
from thermograd.store.errors import ImportFormatError
from thermograd.store.events import KINDS


class Unit(NamedTuple):
    """A unit by its way to ours: (number - zero) * times / over.

    Both factors are whole where they can be: dividing 52300 mW by 1000 is 52.3, multiplying by 0.001 is not.

    Examples
    --------
    >>> Unit(over=1000).ours(52300)
    52.3
    """

    times: float = 1
    over: float = 1
    zero: float = 0

    def ours(self, number: float) -> float:
        """Convert a number."""
        return (number - self.zero) * self.times / self.over


_POWER = {"W": Unit(), "mW": Unit(over=1000), "uW": Unit(over=10**6), "kW": Unit(1000)}
_ENERGY = {"J": Unit(), "mJ": Unit(over=1000), "uJ": Unit(over=10**6), "kJ": Unit(1000)}
_ENERGY |= {"mWh": Unit(18, 5), "Wh": Unit(3600), "kWh": Unit(3_600_000)}
_DIFFERENCE = {"degC": Unit(), "C": Unit(), "K": Unit(), "degF": Unit(5, 9), "F": Unit(5, 9)}
_FAHRENHEIT = Unit(5, 9, 32)
_TEMPERATURE = {"degC": Unit(), "C": Unit(), "mdegC": Unit(over=1000), "K": Unit(zero=273.15)}
_TEMPERATURE |= {"degF": _FAHRENHEIT, "F": _FAHRENHEIT}
_CLOCK = {"MHz": Unit(), "kHz": Unit(over=1000), "Hz": Unit(over=10**6), "GHz": Unit(1000)}
_BYTES = {"B": Unit(), "KB": Unit(10**3), "MB": Unit(10**6), "GB": Unit(10**9), "TB": Unit(10**12)}
_BYTES |= {"KiB": Unit(2**10), "MiB": Unit(2**20), "GiB": Unit(2**30), "TiB": Unit(2**40)}
_SHARE = {"%": Unit(), "fraction": Unit(100)}
_SECONDS = {"s": Unit(), "ms": Unit(over=1000), "us": Unit(over=10**6), "ns": Unit(over=10**9)}
_SECONDS |= {"min": Unit(60), "h": Unit(3600)}
_NANOSECONDS = {"ns": Unit(), "us": Unit(10**3), "ms": Unit(10**6), "s": Unit(10**9)}
_MICROSECONDS = {"us": Unit(), "ns": Unit(over=1000), "ms": Unit(10**3), "s": Unit(10**6)}
_COUNT = {"1": Unit(), "K": Unit(10**3), "M": Unit(10**6)}

_UNIT_AT_END = re.compile(r".*\S ?[\[(](?P<unit>[^\W\d_]+|%|\N{DEGREE SIGN}[CF])[\])]")
TIME = "time"  # the column of `--time`, which `--unit` may be about, too
UNITS: dict[str, dict[str, Unit]] = {  # by column; the first is ours
    **dict.fromkeys(("power_w", "power_w_average", "power_limit_w"), _POWER),
    "energy_j": _ENERGY,
    **dict.fromkeys(("temperature_c", "memory_temperature_c"), _TEMPERATURE),
    "slowdown_margin_c": _DIFFERENCE,
    **dict.fromkeys(("sm_clock_mhz", "memory_clock_mhz"), _CLOCK),
    "memory_used_bytes": _BYTES,
    **dict.fromkeys(("utilization_pct", "fan_pct"), _SHARE),
    **dict.fromkeys(("throttled_thermal_ns", "throttled_power_ns", "throttled_brake_ns"), _NANOSECONDS),
    "read_us": _MICROSECONDS,
    "step_time_s": _SECONDS,
    "tokens": _COUNT,
    TIME: _SECONDS,
}
COLUMNS = {kind: tuple(column.name for column in KINDS[kind]) for kind in ("step", "sample")}


def unit_named(column: str, text: str) -> Unit | None:
    """Return a column's unit by its name; None for one that is not known.

    Case counts where two would be the same without it; a degree sign may stand for ``deg``.

    Examples
    --------
    >>> unit_named("sm_clock_mhz", "KHz")
    Unit(times=1, over=1000, zero=0)
    """
    known = UNITS.get(column, {})
    text = text.strip().replace("\N{DEGREE SIGN}", "deg").replace("\N{MICRO SIGN}", "u")
    text = text.replace("\N{GREEK SMALL LETTER MU}", "u")
    if text in known:
        return known[text]
    alike = {known[name] for name in known if name.lower() == text.lower()}
    return alike.pop() if len(alike) == 1 else None


def unit_in_name(column: str, tag: str) -> str | None:
    """Return the unit that a log's name of a column ends with, where it is one of that column.

    Examples
    --------
    >>> unit_in_name("step_time_s", "elapsed time (ms)")
    'ms'
    """
    match = _UNIT_AT_END.fullmatch(tag)
    return match["unit"] if match is not None and unit_named(column, match["unit"]) is not None else None


def units_said(kind: str, hints: Hints) -> dict[str, Unit]:
    """Return the units that a person says of a kind's columns: with ``--unit``, or in a name: ``P [mW]``."""
    said = {name: unit for name, text in hints.units if (unit := unit_named(name, text)) is not None}
    for name, tag in hints.columns:
        match = _UNIT_AT_END.fullmatch(tag)
        if match is None or name in said or name not in UNITS:
            continue
        unit = unit_named(name, match["unit"])
        if unit is None:
            raise ImportFormatError(
                f"--column {name}={tag}: {match['unit']} is no unit of {name}; say which it is with --unit "
                f"{name}=UNIT, one of {', '.join(UNITS[name])}"
            )
        said[name] = unit
    return {name: unit for name, unit in said.items() if name in COLUMNS[kind]}
