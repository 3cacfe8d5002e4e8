"""Attributes of resources and of data points as texts, and the whole numbers among them."""

import json
from typing import Any

from thermograd.ingest.importers.text_files import whole_number

_LONGEST_TEXT = 160
_MOST_ATTRIBUTES, _DEEPEST = 64, 4


def attribute_texts(pairs: Any) -> dict[str, str]:
    """Return attributes as texts, of bounded number, length and depth."""
    if not pairs:
        return {}
    found = {}
    for pair in pairs[:_MOST_ATTRIBUTES]:
        kind = pair.value.WhichOneof("value")
        if kind == "string_value":
            found[pair.key] = pair.value.string_value[:_LONGEST_TEXT]
        elif kind is not None:
            found[pair.key] = _text(pair.value, kind)[:_LONGEST_TEXT]
    return found


def _text(value: Any, kind: str) -> str:
    if kind in ("int_value", "double_value"):
        return repr(getattr(value, kind))
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return json.dumps(_plain(value, 0), ensure_ascii=False)


def _plain(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if depth >= _DEEPEST or kind is None:
        return None
    if kind == "array_value":
        return [_plain(item, depth + 1) for item in value.array_value.values[:_MOST_ATTRIBUTES]]
    if kind == "kvlist_value":
        pairs = value.kvlist_value.values[:_MOST_ATTRIBUTES]
        return {pair.key: _plain(pair.value, depth + 1) for pair in pairs}
    if kind == "bytes_value":
        return value.bytes_value[:_LONGEST_TEXT].hex()
    return getattr(value, kind)


def whole(value: Any) -> int | None:
    """Return a whole number from 0 that a float can hold, also one that is written as text, or as 7.0."""
    if isinstance(value, str):
        value = int(value) if value.isdecimal() else float(value) if is_number(value) else None
    return whole_number(value)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
