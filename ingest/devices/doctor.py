"""What this machine can measure, and why not the rest."""

import os
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from thermograd.ingest.devices.host import read_pressure
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
        lines += [f"  note: {cell_text(device['note'])}"] if device.get("note") else []
        lines += [f"  lacks {names}: {reason}" for reason, names in by_reason(device.get("missing", {}))]
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
    "altair": "needed for report.html (thermograd[report])",
    "matplotlib": "needed for figures (thermograd[report])",
    "tensorboard": "needed to import event files (thermograd[import])",
    "wandb": "needed to import offline runs of it (thermograd[import])",
    "apprise": "needed to send alerts to chats and mail (thermograd[alerts])",
}


def examine_machine() -> dict[str, Any]:
    """Return what this machine can measure, what it cannot, and why: the document of ``doctor``."""
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
    return {"devices": devices, "absent": absent, "pressure": pressure, "packages": packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "version unknown"
