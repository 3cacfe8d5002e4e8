"""What trackers are given of a run: numbers by name, each at its own time and step, in the order of time."""

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from thermograd.store.errors import MissingExtraError
from thermograd.store.events import COMMON, KINDS
from thermograd.store.log.reader import iterate_events, read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import is_simulated

_KEYS = frozenset(column.name for column in COMMON) | {"step", "rank", "device"}


class Reading(NamedTuple):
    """What was recorded at one time: numbers by name, or an alert's or a mark's words."""

    kind: str  # step, sample, metric, alert or mark
    time_ns: int
    step: int | None  # its own; None for a sample
    reached: int  # the last step before it
    numbers: dict[str, float]
    text: str = ""  # of a metric that is one, an alert or a mark
    name: str = ""  # the mark's, the alert's, the metric's; a sample's device
    severity: str = ""

    @property
    def at_step(self) -> int:
        """The step where a tracker has to have one."""
        return self.reached if self.step is None else self.step


def readings(run: Run) -> Iterator[Reading]:
    """Yield a run's events; a value that is not known is not there."""
    devices, first_rank, reached = short_names(run), _lowest_rank(run), 0
    for event in iterate_events(run.path):
        values = event.values
        if event.kind == "step" and values["step"] is not None:
            reached = max(reached, values["step"])
        numbers, name, text = _told(event.kind, values, devices, first_rank)
        yield Reading(
            event.kind,
            values["time_ns"],
            values.get("step"),
            reached,
            numbers,
            text,
            name,
            str(values.get("severity") or ""),
        )


def _told(
    kind: str, values: Mapping[str, Any], devices: Mapping[str, str], first_rank: int | None
) -> tuple[dict[str, float], str, str]:
    """Return an event's numbers by name, its own name, and its text."""
    if kind == "metric":
        numbers = {} if values["value"] is None else {str(values["name"]): values["value"]}
        return numbers, str(values["name"]), values["text"] or ""
    if kind in ("alert", "mark"):
        return {}, str(values[kind]), values["message" if kind == "alert" else "text"] or ""
    device = devices.get(values["device"], values["device"]) if kind == "sample" else ""
    rank = values["rank"] if kind == "step" and values["rank"] != first_rank else None
    before = f"{device}/" if kind == "sample" else "train/" if rank is None else f"rank{rank}/train/"
    known = {c.name: values[c.name] for c in KINDS[kind] if c.name not in _KEYS}
    return {before + name: float(v) for name, v in known.items() if v is not None}, device or "", ""


def short_names(run: Run) -> dict[str, str]:
    """Return what trackers call a run's devices: ``gpu0`` where the index tells, else as recorded."""
    facts: Mapping[str, Mapping[str, Any]] = run.facts.get("devices") or {}
    names = {device: _short(device, known) for device, known in facts.items()}
    often = Counter(names.values())
    return {device: name if often[name] == 1 else device for device, name in names.items()}


def _short(device: str, facts: Mapping[str, Any]) -> str:
    index, whole = facts.get("index"), "/" not in device
    is_gpu = device.startswith("GPU-")
    return f"gpu{index}" if is_gpu and whole and isinstance(index, int) else device


def _lowest_rank(run: Run) -> int | None:
    import pyarrow.compute as pc

    lowest: int | None = pc.min(read_kind(run.path, "step")["rank"]).as_py()
    return lowest


def title(run: Run) -> str:
    """Return the run's name, with the word *simulated* where a device of it is."""
    name = str(run.facts.get("name") or run.run_id)
    devices = run.facts.get("devices") or {}
    simulated = any(is_simulated(device, facts) for device, facts in devices.items())
    return f"{name} (simulated)" if simulated and "simulated" not in name.lower() else name


def settings(run: Run) -> dict[str, Any]:
    """Return what a tracker takes as configuration: the run's own, and where it is from."""
    from thermograd.store.runs.own_values.configuration import run_config

    devices = run.facts.get("devices") or {}
    known: dict[str, Any] = {"run_id": run.run_id, "source": run.facts.get("source")}
    known["devices"] = {short: (devices[name] or {}).get("model") for name, short in short_names(run).items()}
    known["simulated"] = any(is_simulated(device, facts) for device, facts in devices.items())
    return {**run_config(run), "thermograd": known}


def need(module: str, pip_name: str) -> Any:
    """Import a tracker's own library, or raise MissingExtraError with what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"this format is written with {pip_name}: pip install {pip_name}") from error
