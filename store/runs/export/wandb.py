"""An offline run of Weights & Biases, by its own library; nothing leaves the machine until it is synced."""

import re
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import Reading, need, readings, settings, title

_LONGEST_ID = 64
_ALERT_COLUMNS = ["time_s", "step", "severity", "alert", "message"]


def write(run: Run, folder: Path) -> list[Path]:
    """Write one offline run; each event is one entry of its history, at its own time."""
    wandb = need("wandb", "wandb")
    quiet = dict.fromkeys(
        ("disable_git", "disable_code", "x_disable_stats", "x_disable_meta", "silent"), True
    )
    own = wandb.init(
        mode="offline",
        dir=str(folder),
        project="thermograd",
        name=title(run),
        id=re.sub(r"[^\w-]", "-", run.run_id)[-_LONGEST_ID:],
        config=settings(run),
        settings=wandb.Settings(console="off", disable_job_creation=True, **quiet),
    )
    try:
        _log(own, wandb, run)
    finally:
        own.finish()
    return [path for path in (folder / "wandb").iterdir() if path.name.startswith("offline-run-")]


def _log(own: Any, wandb: Any, run: Run) -> None:
    own.define_metric("train/global_step")
    own.define_metric("train/*", step_metric="train/global_step")
    own.define_metric("time_s")
    told, began_ns = [], None
    for reading in readings(run):
        began_ns = reading.time_ns if began_ns is None else began_ns
        time_s = (reading.time_ns - began_ns) / 1e9
        if reading.numbers or reading.kind == "metric":
            values: dict[str, Any] = {**reading.numbers} or {reading.name: reading.text}
            own.log({**values, **_axes(reading), "time_s": time_s})
        elif reading.text and reading.kind in ("alert", "mark"):
            told.append([time_s, reading.step, reading.severity, reading.name, reading.text])
    if told:
        own.log({"alerts": wandb.Table(columns=_ALERT_COLUMNS, data=told)})


def _axes(reading: Reading) -> dict[str, float]:
    axes: dict[str, float] = {"_timestamp": reading.time_ns / 1e9}
    return axes if reading.step is None else axes | {"train/global_step": reading.step}
