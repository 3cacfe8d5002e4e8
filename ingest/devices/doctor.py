"""What this machine can measure, and why not the rest."""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.ingest.devices.host import read_pressure
from thermograd.ingest.devices.power.limits import LimitError, PowerLimits, may_set_limits, watts
from thermograd.ingest.devices.power.restoring import restore_left
from thermograd.ingest.devices.registry import open_readers
from thermograd.store.events import column_names
from thermograd.store.runs.describe import by_reason
from thermograd.store.telling.devices import device_labels
from thermograd.store.text import cell_text

_LIMITS = ("rated_power_w", "power_limit_w", "temperature_limit_c", "max_sm_clock_mhz", "driver_version")


def describe_machine(facts: Mapping[str, Any]) -> str:
    """Return what ``doctor`` found as text: each device, what it measures, what it lacks and why."""
    lines = []
    order = {column: place for place, column in enumerate(column_names("sample"))}
    for name, label in device_labels(facts["devices"]).items():
        device = facts["devices"][name]
        model = cell_text(device.get("model") or "unknown model")
        lines.append(f"{label}: {model}" if label.startswith(name) else f"{label}: {name}, {model}")
        sensors = sorted(device.get("sensors", []), key=lambda name: order.get(name, len(order)))
        lines.append(f"  measures {', '.join(sensors) or 'nothing'}")
        limits = [f"{limit} {cell_text(device[limit])}" for limit in _LIMITS if device.get(limit) is not None]
        lines += [f"  limits {', '.join(limits)}"] if limits else []
        lines += [f"  power cap: {_cap_text(cap)}"] if (cap := facts["power_cap"].get(name)) else []
        lines += [f"  note: {cell_text(device['note'])}"] if device.get("note") else []
        lines += [f"  lacks {names}: {reason}" for reason, names in by_reason(device.get("missing", {}))]
    lines += ["", "Power limits left behind"] if facts["power_limits_left"] else []
    lines += [f"  {cell_text(left['text'])}" for left in facts["power_limits_left"]]
    lines += ["", "Not here"]
    lines += [f"  {vendor}: {reason}" for vendor, reason in facts["absent"].items()]
    if not facts.get("pressure"):
        lines.append("  pressure stall information: the kernel has none, or was booted with psi=0")
    lines += ["", "Packages", *(f"  {name}: {text}" for name, text in facts["packages"].items())]
    if not any(name.startswith("GPU-") for name in facts["devices"]):
        lines += ["", "Without a GPU, `demo` samples a simulated one beside this machine, and says so."]
    return "\n".join(lines)


_OPTIONAL = {
    "torch": "needed to record torch training (thermograd[train])",
    "transformers": "needed for the Trainer callback and the demo (thermograd[train])",
    "lightning": "needed for the Lightning callback (thermograd[lightning])",
    "altair": "needed for charts in a notebook (thermograd[report])",
    "matplotlib": "needed for report.html and figures (thermograd[report])",
    "tensorboard": "needed to import event files (thermograd[import])",
    "wandb": "needed to import offline runs of it (thermograd[import])",
    "apprise": "needed to send alerts to chats and mail (thermograd[alerts])",
}


def examine_machine(runs: Path | None = None) -> dict[str, Any]:
    """Return what this machine can measure, what it cannot, and why: the document of ``doctor``.

    A power limit that a killed training has left, as this machine or a run in `runs` knows, is put back.
    """
    left = [
        {"device": done.record.uuid, "outcome": done.outcome, "error": done.error, "text": done.text}
        for done in restore_left("thermograd doctor", runs)
    ]
    readers, absent = open_readers(None, os.getpid())
    devices: dict[str, Any] = {}
    for reader in readers:
        devices |= reader.describe()
        reader.close()
    packages = {
        package: f"installed, {_version(package)}" if find_spec(package) else f"not installed; {purpose}"
        for package, purpose in _OPTIONAL.items()
    }
    pressure = sorted(read_pressure())
    caps = {"power_cap": _power_caps(devices), "power_limits_left": left}
    return {"devices": devices, "absent": absent, "pressure": pressure, "packages": packages} | caps


def _power_caps(devices: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each NVIDIA GPU what limits it takes, and whether we may set them; None where unknown."""
    try:
        limits = PowerLimits()
    except DeviceUnavailableError:
        return {}
    caps: dict[str, Any] = {}
    for name in (name for name in devices if name.startswith("GPU-")):
        known: dict[str, Any] = {"limit_w": None, "range_w": None, "is_permitted": may_set_limits()}
        with suppress(LimitError):
            gpu = limits.of(name)
            known["limit_w"] = gpu.now_mw() / 1e3
            known["range_w"] = [limit / 1e3 for limit in gpu.range_mw()]
            known["is_permitted"] = known["is_permitted"] and not gpu.is_divided()
        caps[name] = known
    limits.close()
    return caps


def _cap_text(cap: Mapping[str, Any]) -> str:
    """Return in a line whether an experiment can cap a GPU's power."""
    if cap["range_w"] is None:
        return "the driver gives no range of limits, so none can be set"
    least, most = (watts(round(1e3 * limit)) for limit in cap["range_w"])
    permitted = {True: "may be set here", False: "to set it takes root, and a GPU that is not divided"}
    return f"{least} to {most}; {permitted.get(cap['is_permitted'], 'whether it may be set is not known')}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "version unknown"
