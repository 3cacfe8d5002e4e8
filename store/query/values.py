"""One value of an answer as people, JSON and text formats have it, and how much work it will be."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
from thermograd.store.errors import QueryError

_SHOWN_ITEMS = 130  # of a list in a table, whose cells have 128 characters
_SHOWN_CHARACTERS = 200
_EPOCH = datetime(1970, 1, 1)
_PRINTED_BYTES = {b: chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in range(256)}


def weight(array: pa.Array) -> int:
    """Return how many values an array has, those inside of values too; a long one is one per eight bytes.

    Examples
    --------
    >>> weight(pa.array([[None, None], None])), weight(pa.array(["", "x" * 800]))
    (4, 101)
    """
    kind = array.type
    if _is_list(kind):
        return len(array) + weight(array.flatten())
    if pa.types.is_map(kind):
        first, end = (array.offsets[i].as_py() for i in (0, -1))
        return len(array) + sum(weight(part.slice(first, end - first)) for part in (array.keys, array.items))
    if pa.types.is_struct(kind):
        return len(array) * (1 + names_weight(field.name for field in kind)) + sum(
            map(weight, array.flatten())
        )
    if pa.types.is_union(kind):
        return len(array) + sum(weight(array.field(i)) for i in range(kind.num_fields))
    return max(len(array), int(array.nbytes) // 8)


def is_small(kind: pa.DataType) -> bool:
    """Return whether each value of a type weighs one."""
    return bool(pa.types.is_primitive(kind) or pa.types.is_null(kind))


def names_weight(names: Iterable[str]) -> int:
    """Return what the names of a row's values weigh, which JSON has in every row."""
    return sum(map(len, names)) // 8


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def values_of(column: pa.Array, field: pa.Field, output: str) -> list[Any]:
    """Return a column's values as Python has them; those that it cannot have, and times of ns, as text."""
    if _holds_nanoseconds(field.type):
        return [_python_value(scalar, field, output, lambda value: _part(value, _ALL)) for scalar in column]
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError, pa.ArrowException):  # a year beyond 9999, an infinite date
        return [_python_value(scalar, field, output, lambda value: value.as_py()) for scalar in column]
    if pa.types.is_interval(field.type) or pa.types.is_binary(field.type):
        return [json_value(value, field.type) for value in values]
    return list(values)


def _is_nanoseconds(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is None)


def _holds_nanoseconds(kind: pa.DataType) -> bool:
    """Return whether a value has times that Python's own would cut to microseconds; pandas is not at hand."""
    if _is_nanoseconds(kind):
        return True
    return any(_holds_nanoseconds(kind.field(i).type) for i in range(kind.num_fields))


def beginning(scalar: pa.Scalar, field: pa.Field) -> Any:
    """Return as much of a value as a table shows of it; nothing else of it is converted."""
    taking = _Taking(iter(range(_SHOWN_ITEMS)), _SHOWN_CHARACTERS, " ")
    return _python_value(scalar, field, "a table", lambda value: _part(value, taking))


def _python_value(
    scalar: pa.Scalar, field: pa.Field, output: str, convert: Callable[[pa.Scalar], Any]
) -> Any:
    try:
        return convert(scalar)
    except (OverflowError, ValueError, pa.ArrowException):
        try:
            return scalar.cast(pa.string()).as_py()
        except pa.ArrowException as error:
            raise QueryError(
                f"column {field.name[:100]!r} has values of {str(field.type)[:100]} that {output} cannot "
                f"hold; select them as text with CAST(... AS VARCHAR)"
            ) from error


class _Taking(NamedTuple):
    """How much of a value is taken: items, characters of each text; and what parts a date from its time."""

    budget: Iterator[int]
    characters: int | None
    between: str


_ALL = _Taking(itertools.repeat(0), None, "T")


def _part(scalar: pa.Scalar, taking: _Taking) -> Any:
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_map(kind):
        entries = _some(scalar.values, taking)
        return [tuple(_part(entry[i], taking) for i in (0, 1)) for entry in entries]
    if _is_list(kind):
        return [_part(item, taking) for item in _some(scalar.values, taking)]
    if pa.types.is_struct(kind):
        fields = _some(range(kind.num_fields), taking)
        return {kind.field(i).name: _part(scalar[i], taking) for i in fields}
    if pa.types.is_union(kind):
        return _part(scalar.value, taking)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return json_value(scalar.as_py()[: taking.characters], kind)
    if _is_nanoseconds(kind):
        return _moment_text(scalar.value, taking.between)
    value = scalar.as_py()
    if isinstance(value, str):
        return value[: taking.characters]
    return json_value(value, kind) if pa.types.is_interval(kind) else value


def _moment_text(time_ns: int, between: str) -> str:
    """Return a time with as many digits as it takes, of microseconds where that is enough.

    Examples
    --------
    >>> [_moment_text(each, "T") for each in (-1_000_000_000, 500_000_000, 1)]
    ['1969-12-31T23:59:59', '1970-01-01T00:00:00.500000', '1970-01-01T00:00:00.000000001']
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    moment = (_EPOCH + timedelta(seconds=seconds)).isoformat(between)
    if not rest:
        return moment
    return f"{moment}.{rest:09}" if rest % 1000 else f"{moment}.{rest // 1000:06}"


def _some(items: Iterable[Any], taking: _Taking) -> Iterator[Any]:
    for item in items:
        if next(taking.budget, None) is None:
            return
        yield item


def json_value(value: Any, kind: pa.DataType) -> Any:
    """Return a value as strict JSON has it; what JSON has no type for, as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, bytes):
        return value.decode("latin-1").translate(_PRINTED_BYTES)  # as DuckDB shows them
    if pa.types.is_interval(kind):
        return _interval_text(*value)
    if pa.types.is_map(kind):
        return {str(json_value(k, kind.key_type)): json_value(v, kind.item_type) for k, v in value}
    if pa.types.is_struct(kind):
        return {name: json_value(item, kind.field(name).type) for name, item in value.items()}
    if isinstance(value, list):
        return [json_value(item, kind.value_type) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def text_of(value: Any, kind: pa.DataType) -> str | None:
    """Return a value as text, nested ones as JSON."""
    shown = json_value(value, kind)
    return shown if shown is None or isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _interval_text(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval as DuckDB reads it.

    Examples
    --------
    >>> _interval_text(14, 1, 90_000_000_000), _interval_text(0, 0, -1_500_000_000)
    ('14 months 1 day 00:01:30', '-00:00:01.5')
    """
    parts = [f"{n} {name}{'s' * (abs(n) != 1)}" for n, name in ((months, "month"), (days, "day")) if n]
    if nanoseconds or not parts:
        seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        fraction = f".{rest:09}".rstrip("0") if rest else ""
        parts.append(f"{'-' * (nanoseconds < 0)}{clock}{fraction}")
    return " ".join(parts)
