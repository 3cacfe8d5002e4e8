"""The facts of runs and writers as one may rely on them: what has not the type it should have is left out.

``run.json`` may come from another program, another version or a stranger; one odd file must not hide the
other runs.
"""

import re
from collections.abc import Mapping
from typing import Any

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TEXTS = frozenset({"name", "source", "host", "boot_id", "writer", "role", "thermograd_version"})
_TIMES = frozenset({"started_time_ns", "ended_time_ns", "closed_time_ns"})
_OBJECTS = frozenset(
    {
        "job",
        "model",
        "truth",
        "import",
        "versions",
        "git",
        "sampling",
        "missing",
        "suspect",
        "config",
        "ended",
        "labels",
    }
)
_NUMBERS = frozenset({"rated_power_w", "power_limit_w", "temperature_limit_c", "max_sm_clock_mhz"})


def run_facts_of(content: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Return the facts of a run from the content of its ``run.json``; its id is its `directory`'s name."""
    facts = checked_facts(content)
    if "run_id" in facts:
        facts["run_id"] = directory
    for name in ("devices", "devices_absent"):
        if name in facts and not isinstance(facts[name], dict):
            del facts[name]
    if "devices" in facts:
        facts["devices"] = {
            name: _device(value) for name, value in facts["devices"].items() if isinstance(value, dict)
        }
    return facts


def _device(content: Mapping[str, Any]) -> dict[str, Any]:
    facts = checked_facts(content)
    if isinstance(content.get("model"), str):  # a run's model is an object
        facts["model"] = _encodable(content["model"])
    index = facts.get("index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**31:
        del facts["index"]
    sensors = facts.get("sensors", [])
    if not isinstance(sensors, list) or not all(isinstance(sensor, str) for sensor in sensors):
        del facts["sensors"]
    return facts


def checked_facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts, but for what has another type than it should have; so are those of a writer."""
    return {_encodable(k): _encodable(v) for k, v in content.items() if _fits(k, v)}


def _fits(name: str, value: Any) -> bool:
    """Return whether a value has the type that its name needs; a name that is not known takes any."""
    if value is None:
        return name not in _OBJECTS | _TIMES
    if name in _TIMES:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    if name in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    if name in _OBJECTS:
        return isinstance(value, dict)
    return isinstance(value, str) or name not in _TEXTS


def _encodable(value: Any) -> Any:
    """Return JSON whose texts can be encoded: a lone surrogate, which JSON may have, cannot."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
