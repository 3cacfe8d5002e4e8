"""Reading what a person says with ``--column NAME=TAG`` and ``--unit NAME=UNIT``."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.units import COLUMNS, UNITS, unit_named
from thermograd.store.errors import ImportFormatError

_LAST = {"rank", "read_us", "reported_rle", "reported_collapse"}  # the others are of our own readings only
NAMES = (
    *dict.fromkeys(name for names in COLUMNS.values() for name in names if name not in _LAST),
    "rank",
)


def hints_of(
    columns: Iterable[str] = (), units: Iterable[str] = (), fields: str | None = None, **others: Any
) -> Hints:
    """Return the hints that options of the command line give; `others` are as they are."""
    return Hints(
        columns=named_columns(columns), units=named_units(units), fields=named_fields(fields), **others
    )


def named_columns(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read ``--column NAME=TAG``: the log's name of a column, or refuse it."""
    named: dict[str, str] = {}
    for text, name, tag in _pairs(texts):
        if name not in NAMES or name in named or not tag:
            raise ImportFormatError(
                f"--column {text!r} is no NAME=TAG; allowed is each of {', '.join(NAMES)} once, such as "
                "grad_norm=optim/total_grad_norm"
            )
        _require_one_column(text, name, tag, named)
        named[name] = tag
    return tuple(named.items())


def _require_one_column(text: str, name: str, tag: str, named: Mapping[str, str]) -> None:
    """Refuse a name that is said of two columns of one log."""
    for other, known in named.items():
        if known == tag and any({name, other} <= set(columns) for columns in COLUMNS.values()):
            raise ImportFormatError(
                f"--column {text!r}, but {tag} is said to be {other} already; allowed is one column for each "
                "name of the log"
            )


def named_units(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read ``--unit NAME=UNIT``: the unit of the log's numbers of a column, or refuse it."""
    named: dict[str, str] = {}
    for text, name, unit in _pairs(texts):
        if name not in UNITS or name in named:
            raise ImportFormatError(
                f"--unit {text!r} is no NAME=UNIT; allowed is each of {', '.join(UNITS)} once, such as "
                "power_w=mW"
            )
        if unit_named(name, unit) is None:
            raise ImportFormatError(f"--unit {text!r}: allowed for {name} is one of {', '.join(UNITS[name])}")
        named[name] = unit
    return tuple(named.items())


def named_fields(text: str | None) -> tuple[str, ...]:
    """Read ``--columns A,B,C``: the names of the columns of a file that has no header."""
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    if text is not None and (len(names) < 2 or not all(names)):
        raise ImportFormatError(
            f"--columns {text!r} is no list of names; give each column's, in the file's order, such as "
            "timestamp,index,power.draw"
        )
    return names


def _pairs(texts: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for text in texts:
        name, _, value = text.partition("=")
        yield text, name.strip(), value.strip()
