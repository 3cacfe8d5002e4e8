"""Alerts as values: how one is made from the event that caused it, and how two sets are compared.

An alert is a dictionary of all columns of the `alert` kind but ``seq``, which the log gives.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from thermograd.store.events import columns
from thermograd.store.text import printable

Alert = dict[str, Any]

_COLUMNS = tuple(column for column in columns("alert") if column.name != "seq")


def empty_alert() -> Alert:
    """Return an alert with every column null."""
    return dict.fromkeys(column.name for column in _COLUMNS)


def alert_from(values: Mapping[str, Any], alert: str, severity: str, message: str, **found: Any) -> Alert:
    """Return an alert that the event with these values caused; `found` are further alert columns."""
    result = empty_alert()
    result.update(
        time_ns=int(values["time_ns"]),
        monotonic_ns=int(values["monotonic_ns"]),
        alert=alert,
        severity=severity,
        step=values.get("step"),
        onset_time_ns=int(values["time_ns"]),
        offset=int(values["seq"]),
        message=message,
    )
    result.update(found)
    return result


def at_step(values: Mapping[str, Any]) -> str:
    """Return ``"step 12: "`` for the event of a step, nothing for any other."""
    step = values.get("step")
    return "" if step is None else f"step {step}: "


def alert_line(alert: Mapping[str, Any]) -> str:
    """Return an alert as one line: severity, what, and the sentence; no control characters."""
    return (
        f"{printable(alert['severity']):<8}  {printable(alert['alert']):<17}  {printable(alert['message'])}"
    )


def as_float(value: Any) -> float | None:
    """Return a number as float, None as None."""
    return None if value is None else float(value)


def digest(alerts: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of alerts in canonical order, whatever order they come in.

    The order is time, alert, device, metric, step, offset; every column but ``seq`` counts, floats
    to their last bit.

    Examples
    --------
    >>> digest([]) == digest(iter(()))
    True
    """
    lines = sorted((_sort_key(alert), identity(alert)) for alert in alerts)
    return hashlib.sha256("\n".join(line for _, line in lines).encode()).hexdigest()


def _sort_key(alert: Mapping[str, Any]) -> tuple[int, str, str, str, int, int]:
    step, offset = alert.get("step"), alert.get("offset")
    return (
        int(alert["time_ns"]),
        str(alert["alert"]),
        str(alert.get("device") or ""),
        str(alert.get("metric") or ""),
        -1 if step is None else int(step),
        -1 if offset is None else int(offset),
    )


def identity(alert: Mapping[str, Any]) -> str:
    """Return every column but ``seq`` as one line of text; two alerts with the same one are the same."""
    return "|".join(_text(column.type, alert.get(column.name)) for column in _COLUMNS)


def _text(kind: str, value: Any) -> str:
    if value is None:
        return "null"
    if kind == "float64":
        return repr(float(value))
    return str(int(value)) if kind == "int64" else json.dumps(str(value))
