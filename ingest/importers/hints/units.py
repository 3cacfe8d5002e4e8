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


_POWER = {"W": Unit(), "mW": Unit(over=1000), "uW": Unit(over=10**6), "kW": Unit(1000), "MW": Unit(10**6)}
_ENERGY = {"J": Unit(), "mJ": Unit(over=1000), "uJ": Unit(over=10**6), "kJ": Unit(1000)}
_ENERGY |= {"MJ": Unit(10**6), "GJ": Unit(10**9), "mWh": Unit(18, 5), "Wh": Unit(3600)}
_ENERGY |= {"kWh": Unit(3_600_000), "MWh": Unit(3_600_000_000)}
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

# What stands in brackets behind a name: a unit, or one of something (``W/GPU``).
_IN_BRACKETS = re.compile(
    r".*\S ?[\[(](?P<unit>[^\W\d_]+|%|\N{DEGREE SIGN}[CF]|[^\[\]()]+[/*^][^\[\]()]+)[\])]"
)
_WORD = re.compile(r"[^\W\d_]+|[%\N{DEGREE SIGN}]+[CF]?")
_CAMEL = re.compile(r"(?<=[a-z\d])(?=[A-Z][a-z]{3})")  # of words as long as a unit's: powerWatts
_WORDS = {  # in which units are spelled out; prefixes before them
    **{"watt": "W", "joule": "J", "hertz": "Hz", "byte": "B", "second": "s", "watthour": "Wh"},
    **{"celsius": "C", "centigrade": "C", "fahrenheit": "F", "kelvin": "K"},
    **{"percent": "%", "percentage": "%", "pct": "%", "minute": "min", "hour": "h", "sec": "s", "msec": "ms"},
}
_PREFIXES = {"milli": "m", "micro": "u", "nano": "n", "kilo": "k", "mega": "M", "giga": "G"}
_PREFIXES |= {"kibi": "Ki", "mebi": "Mi", "gibi": "Gi", "tera": "T", "tebi": "Ti", "": ""}
_MEANS_ELSE = frozenset({"min"})  # at the end of a name: the least of it
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
_MEASURED = ("power_w", "energy_j", "temperature_c", "sm_clock_mhz", "memory_used_bytes", "utilization_pct")
COLUMNS = {kind: tuple(column.name for column in KINDS[kind]) for kind in ("step", "sample")}


def unit_named(column: str, text: str) -> Unit | None:
    """Return a column's unit by its name; None for one that is not known, or may be two.

    A prefix counts as it is written: a millijoule is no megajoule, a bit no byte. The case of what is written
    in one case (``mib``, ``KHZ``) counts only where two units would be the same without it. A degree sign may
    stand for ``deg``.

    Examples
    --------
    >>> unit_named("sm_clock_mhz", "KHz"), unit_named("sm_clock_mhz", "mHz")
    (Unit(times=1, over=1000, zero=0), None)
    """
    name = _unit_name(column, text)
    return UNITS[column][name] if name is not None else None


def _unit_name(column: str, text: str) -> str | None:
    """Return the name in the table of a unit that a text is."""
    known = UNITS.get(column, {})
    text = text.strip().replace("\N{DEGREE SIGN}", "deg").replace("\N{MICRO SIGN}", "u")
    text = _symbol(text.replace("\N{GREEK SMALL LETTER MU}", "u"))
    alike = [name for name in known if name.lower() == text.lower()]
    if text in alike or not alike:
        return text if text in alike else None
    if len(alike) > 1 or not (text.islower() or text.isupper()):
        alike = [name for name in alike if _same_where_it_counts(name, text)]
    return alike[0] if len(alike) == 1 else None


def _same_where_it_counts(one: str, other: str) -> bool:
    return all(a == b for a, b in zip(one, other, strict=True) if a in "mMbB" or b in "mMbB")


def _symbol(text: str) -> str:
    """Return the sign of a unit that is spelled out: ``mW`` for milliwatts; any other text as it is."""
    word = text.lower().removesuffix("s") if len(text) > 3 else text.lower()
    for prefix, sign in _PREFIXES.items():
        unit = _WORDS.get(word.removeprefix(prefix)) if word.startswith(prefix) else None
        unit = unit or (_WORDS.get(text.lower()) if not prefix else None)
        if unit is not None:
            return sign + unit
    return text


def unit_in_name(column: str, tag: str) -> str | None:
    """Return the unit that a log's name of a column ends with; a doubtful one is refused.

    Examples
    --------
    >>> unit_in_name("step_time_s", "elapsed time (ms)"), unit_in_name("power_w", "board_power_mW")
    ('ms', 'mW')
    """
    return _in_brackets(column, tag) or unit_at_end(column, tag)


def units_said(kind: str, hints: Hints) -> dict[str, Unit]:
    """Return the units that a person says of a kind's columns: with ``--unit``, or in a name: ``P [mW]``."""
    return {name: UNITS[name][unit] for name, unit in unit_names_said(kind, hints).items()}


def unit_names_said(kind: str, hints: Hints) -> dict[str, str]:
    """Return the same by their names."""
    said = {name: unit for name, text in hints.units if (unit := _unit_name(name, text)) is not None}
    for name, tag in hints.columns:
        if name in said or name not in UNITS:
            continue
        unit = unit_in_name(name, tag)
        if unit is not None:
            said[name] = unit
    return {name: unit for name, unit in said.items() if name in COLUMNS[kind]}


def _in_brackets(name: str, tag: str) -> str | None:
    match = _IN_BRACKETS.fullmatch(tag)
    if match is None:
        return None
    unit = _unit_name(name, match["unit"])
    if unit is None:
        raise _no_unit(name, tag, match["unit"])
    return unit


def unit_at_end(column: str, tag: str) -> str | None:
    """Return the unit at the end of a name; None for none. One of something else is refused.

    Examples
    --------
    >>> [unit_at_end("power_w", name) for name in ("board_power_mW", "x in kW", "p")]
    ['mW', 'kW', None]
    """
    words = _WORD.findall(_CAMEL.sub(" ", tag))
    ends = ["".join(words[-length:]) for length in (3, 2, 1) if len(words) >= length]
    if not ends or not tag.endswith(words[-1]):
        return None
    # Joined words are a unit only where they spell it out: `is m` and `W` are none.
    ends = [end for end in ends if end == words[-1] or _symbol(end) != end]
    found = next((unit for end in ends if (unit := _unit_name(column, end)) is not None), None)
    if found is None and any(map(_is_of_else, ends)):
        raise _no_unit(column, tag, words[-1])
    if found in _MEANS_ELSE:
        raise ImportFormatError(
            f"--column {column}={tag}: {found} may be its unit or not; say its unit with --unit "
            f"{column}=UNIT, one of {', '.join(UNITS[column])}"
        )
    return found


def _is_of_else(text: str) -> bool:
    """Whether a text is, without doubt, the unit of some column."""
    return (len(text) > 1 or text == "%") and any(
        _unit_name(column, text) is not None for column in _MEASURED
    )


def _no_unit(name: str, tag: str, unit: str) -> ImportFormatError:
    return ImportFormatError(
        f"--column {name}={tag}: {unit} is no unit of {name}; say which it is with --unit "
        f"{name}=UNIT, one of {', '.join(UNITS[name])}"
    )
