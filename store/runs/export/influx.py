"""InfluxDB's line protocol: a measurement a kind, the run a tag, times in ns.

The protocol has no NaN and no infinity: such a value stands as text in the field ``<name>_nonfinite``. No tag
ends in a backslash, and no text has a line break that each reader of lines would know: what a tag or a text
cannot hold as it is, stands in the field ``<name>_json`` as well, as JSON.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from thermograd.store.events import KINDS
from thermograd.store.log.reader import iterate_events
from thermograd.store.runs.catalogue import Run

_TAGS = ("rank", "device", "alert", "severity", "mark", "name", "metric")
_BATCH = 4096


def write(run: Run, file: IO[bytes]) -> None:
    """Write every event as one line."""
    lines: list[str] = []
    for line in _lines(run):
        lines.append(line)
        if len(lines) >= _BATCH:
            file.write("\n".join(lines).encode() + b"\n")
            lines.clear()
    if lines:
        file.write("\n".join(lines).encode() + b"\n")


def _lines(run: Run) -> Iterator[str]:
    for event in iterate_events(run.path):
        kind, values = event.kind, event.values
        tags = {"run": run.run_id, "writer": event.writer}
        tags |= {name: values[name] for name in _TAGS if values.get(name) not in (None, "")}
        fields = [_field("seq", values["seq"])]
        fields += [
            _field(column.name, values[column.name])
            for column in KINDS[kind]
            if column.name not in tags and values[column.name] is not None
        ]
        fields += [
            _exact(name, text) for name, text in _texts(kind, values) if _is_changed(text, name in tags)
        ]
        named = ",".join(f"{_key(name)}={_key(str(value))}" for name, value in tags.items())
        yield f"thermograd_{kind},{named} {','.join(fields)} {values['time_ns']}"


def _texts(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return (
        (column.name, text) for column in KINDS[kind] if isinstance(text := values[column.name], str) and text
    )


def _is_changed(text: str, is_tag: bool) -> bool:
    """Whether a text does not stand in a line as it is."""
    return "\n" in text or "\r" in text or (is_tag and "\\" in text)


def _exact(name: str, text: str) -> str:
    return _field(f"{name}_json", json.dumps(text))


def _field(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{_key(name)}={'true' if value else 'false'}"
    if isinstance(value, int):
        return f"{_key(name)}={value}i" if value < 2**63 else f"{_key(name)}={value}u"
    if isinstance(value, float) and math.isfinite(value):
        return f"{_key(name)}={value!r}"
    if isinstance(value, float):
        return f'{_key(name)}_nonfinite="{value}"'
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
    return f'{_key(name)}="{text}"'


def _key(text: str) -> str:
    """Return a tag or a field's name: blanks, commas and = escaped; no line break and no backslash."""
    flat = " ".join(text.replace("\\", "/").split("\n")).replace("\r", " ")
    return "".join(f"\\{c}" if c in ", =" else c for c in flat) or "-"
