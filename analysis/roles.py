"""Which device of one run stands for which device of another: their names differ, their roles do not."""

from collections.abc import Sequence

from thermograd.analysis.run.series import Device, RunSeries


def device_by_role(data: RunSeries) -> dict[str, Device]:
    """Return a run's devices by role: ``gpu 0``, ``gpu 1``, ... in the order of their names, then ``cpu``.

    Simulated devices are GPUs. What is neither, such as an importer's own name, keeps its name.
    """
    roles: dict[str, Device] = {}
    for device in data.devices.values():
        name = device.name.lower()
        if name.startswith(("gpu", "simulated:")) or "gpu" in str(device.facts.get("model") or "").lower():
            roles[f"gpu {sum(role.startswith('gpu ') for role in roles)}"] = device
        else:
            roles[device.name] = device
    return dict(sorted(roles.items(), key=lambda item: (not item[0].startswith("gpu "), item[0])))


def model_warnings(series: Sequence[RunSeries]) -> list[str]:
    """Say where devices that are compared are of different models."""
    models: dict[str, dict[str, None]] = {}
    for data in series:
        for role, device in device_by_role(data).items():
            models.setdefault(role, {})[str(device.facts.get("model") or "model not recorded")] = None
    return [
        f"{role} is not the same model in all runs: {'; '.join(names)}."
        for role, names in models.items()
        if len(names) > 1
    ]
