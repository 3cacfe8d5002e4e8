"""What pandas, sqlite3, json or a regular expression read in the importers' fixtures: what is to be found.

A reader returns the values of columns by *kind.column* (of one device *kind.column@device*, of metrics
*metric.NAME*), in our units. It knows
nothing of the importers.
"""

import json
import math
import plistlib
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

Values = Mapping[str, Iterable[Any]]  # kind.column, kind.column@device, or metric.NAME


def _numbers(cells: pd.Series, factor: float = 1.0) -> list[float]:
    """Return the numbers at the beginning of cells: `250.13 W` is 250.13."""
    found = cells.astype(str).str.extract(r"^\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)", expand=False)
    return [float(number) * factor for number in found.dropna()]


def _frame(frame: pd.DataFrame, **columns: str | tuple[str, float]) -> Values:
    """Return the values of a frame's columns; `kind__column` names ours, with a factor where one is due."""
    pairs = {name: (of, 1.0) if isinstance(of, str) else of for name, of in columns.items()}
    return {
        name.replace("__", "."): _numbers(frame[column], factor) for name, (column, factor) in pairs.items()
    }


def _metrics(frame: pd.DataFrame, *names: str) -> Values:
    return {f"metric.{name}": _numbers(frame[name]) for name in names}


def _nvidia_smi(path: Path) -> Values:
    frame = pd.read_csv(path, skipinitialspace=True, dtype=str)
    return _frame(
        frame[frame["index"].str.isdecimal()],
        sample__temperature_c="temperature.gpu",
        sample__power_w="power.draw [W]",
        sample__power_limit_w="enforced.power.limit [W]",
        sample__sm_clock_mhz="clocks.current.sm [MHz]",
        sample__memory_used_bytes=("memory.used [MiB]", 2.0**20),
        sample__utilization_pct="utilization.gpu [%]",
    )


def _hwinfo(path: Path) -> Values:
    frame = pd.read_csv(path, encoding="latin-1", dtype=str)
    frame = frame[frame["Date"].str.match(r"\d", na=False)]
    power = [*_numbers(frame["CPU Package Power [W]"]), *_numbers(frame["GPU Power [W]"])]
    return {"sample.power_w": power} | dict(
        _frame(
            frame,
            sample__temperature_c="GPU Temperature [°C]",
            sample__utilization_pct="Total CPU Usage [%]",
            sample__fan_pct="GPU Fan1 [%]",
        )
    )


def _dcgm(path: Path) -> Values:
    text = path.read_text()

    def metric(name: str, factor: float = 1.0) -> list[float]:
        found = re.findall(rf"^DCGM_FI_DEV_{name}\{{.*\}} (\S+) \d+$", text, re.MULTILINE)
        return [float(value) * factor for value in found]

    return {
        "sample.temperature_c": metric("GPU_TEMP"),
        "sample.power_w": metric("POWER_USAGE"),
        "sample.energy_j": metric("TOTAL_ENERGY_CONSUMPTION", 1e-3),
        "sample.memory_used_bytes": metric("FB_USED", 2.0**20),
    }


def _trainer_state(path: Path) -> Values:
    history = [entry for entry in json.loads(path.read_text())["log_history"] if "loss" in entry]
    names = ("loss", "grad_norm", "learning_rate", "step")
    return {f"step.{name}": [entry[name] for entry in history if name in entry] for name in names}


def _llama_factory(path: Path) -> Values:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    taken = {"loss": "loss", "learning_rate": "lr", "step": "current_steps"}
    return {
        f"step.{ours}": [line[name] for line in lines if "loss" in line and name in line]
        for ours, name in taken.items()
    }


def _lightning(path: Path) -> Values:
    frame = pd.read_csv(path / "metrics.csv", dtype=str)
    return _frame(frame, step__loss="train_loss_step", step__grad_norm="grad_2.0_norm_total") | dict(
        _metrics(frame, "val_loss", "train_loss_epoch")
    )


def _wandb(path: Path) -> Values:
    return _frame(
        pd.read_csv(path, dtype=str),
        step__loss="train/loss",
        step__grad_norm="train/grad_norm",
        sample__temperature_c="system.gpu.0.temp",
        sample__power_w="system.gpu.0.powerWatts",
    )


def _table_csv(path: Path) -> Values:
    frame = pd.read_csv(path, sep=";", decimal=",")
    return _frame(frame, sample__power_w="power_w", sample__temperature_c="temperature_c")


def _table_parquet(path: Path) -> Values:
    return _frame(
        pd.read_parquet(path),
        sample__power_w="power_w",
        sample__temperature_c="temperature_c",
        step__loss="loss",
        step__step="step",
        metric__accuracy="accuracy",
    )


def _table_json(path: Path) -> Values:
    frame = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    times = {"step.time_ns": [int(time) * 10**6 for time in frame["time"]]}
    return times | dict(_frame(frame, step__loss="loss", step__step="step", metric__accuracy="accuracy"))


def _zeus_power(path: Path) -> Values:
    frame = pd.read_csv(path)
    return {"sample.power_w": [*frame["gpu0"], *frame["gpu1"]]}


def _keras(path: Path) -> Values:
    frame = pd.read_csv(path, sep=";" if "semicolons" in path.name else ",")
    return _metrics(frame, *({"accuracy", "val_loss"} & set(frame.dropna(axis=1).columns)))


def _ultralytics(path: Path) -> Values:
    frame = pd.read_csv(path, skipinitialspace=True).rename(columns=str.strip)
    return _metrics(frame, "train/box_loss", "val/box_loss")


def _amd_smi(path: Path) -> Values:
    frame = pd.read_csv(path, dtype=str)
    frame = frame[frame["gpu"].str.isdecimal()]
    return _frame(frame, sample__power_w="power_usage", sample__temperature_c="hotspot_temperature")


def _dmon(path: Path) -> Values:
    rows = [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    rows = [cells for cells in rows if cells and cells[0].isdecimal()]
    return {"sample.power_w": [float(cells[3]) for cells in rows if cells[3] != "-"]}


def _dcgmi(path: Path) -> Values:
    rows = [line.split() for line in path.read_text().splitlines() if line.startswith("GPU ")]
    return {"sample.power_w": [float(cells[4]) for cells in rows]}


def _documents(path: Path) -> list[Any]:
    """Return the JSON documents of a file, one after the other."""
    decoder, text, found = json.JSONDecoder(), path.read_text().lstrip(), []
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def _gpustat(path: Path) -> Values:
    gpus = [gpu for answer in _documents(path) for gpu in answer["gpus"]]
    return {
        f"sample.{ours}": [gpu[name] for gpu in gpus if isinstance(gpu.get(name), int | float)]
        for ours, name in {"power_w": "power.draw", "temperature_c": "temperature.gpu"}.items()
    }


def _tensorboard(path: Path) -> Values:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    taken = {"train/loss": "loss", "loss": "loss", "train/grad_norm": "grad_norm", "grad_norm": "grad_norm"}
    return {
        f"step.{ours}": [scalar.value for scalar in events.Scalars(tag)]
        for tag, ours in taken.items()
        if tag in events.Tags()["scalars"]
    }


def _by_patterns(encoding: str = "utf-8", **patterns: str) -> Callable[[Path], Values]:
    """Return a reader that takes the numbers that expressions find."""

    def read(path: Path) -> Values:
        text = path.read_text(encoding)
        return {n.replace("__", "."): re.findall(p, text, re.MULTILINE) for n, p in patterns.items()}

    return read


def _by_frame(separator: str = ",", **columns: str | tuple[str, float]) -> Callable[[Path], Values]:
    """Return a reader of columns that pandas finds in a CSV whose header may come again."""

    def read(path: Path) -> Values:
        frame = pd.read_csv(path, sep=separator, dtype=str, encoding="latin-1", skipinitialspace=True)
        frame = frame.rename(columns=str.strip)
        first = next(iter(columns.values()))
        name = first if isinstance(first, str) else first[0]
        return _frame(frame[frame[name] != name], **columns)

    return read


def _of(device: str, read: Callable[[Path], Values]) -> Callable[[Path], Values]:
    """Return a reader of one device of several."""
    return lambda path: {f"{name}@{device}": values for name, values in read(path).items()}


def _amd_smi_json(path: Path) -> Values:
    gpus = [gpu for answer in _documents(path) for gpu in answer]
    return {
        "sample.power_w": [gpu["power"]["socket_power"]["value"] for gpu in gpus],
        "sample.utilization_pct": [gpu["usage"]["gfx_activity"]["value"] for gpu in gpus],
    }


def _prometheus(path: Path) -> Values:
    taken = {"DCGM_FI_DEV_GPU_TEMP": "temperature_c", "DCGM_FI_DEV_GPU_UTIL": "utilization_pct"}
    found: dict[str, list[float]] = {}
    for series in json.loads(path.read_text())["data"]["result"]:
        column = taken.get(series["metric"].get("__name__", ""))
        if column is not None:
            values = [float(text) for _, text in series["values"]]
            found.setdefault(f"sample.{column}", []).extend(values)
    return found


def _powermetrics(path: Path) -> Values:
    parts = [part.strip() for part in path.read_bytes().split(b"\0")]
    samples = [plistlib.loads(part) for part in parts if part]
    return {"sample.power_w": [sample["processor"]["cpu_power"] / 1000 for sample in samples]}


def _pair(folder: Path) -> Values:
    (steps,) = [json.loads(path.read_text()) for path in folder.glob("*.json") if "step" in path.name]
    names = ("loss", "grad_norm", "learning_rate")
    return {f"step.{n}": [row[n] for row in steps[:-1] if row.get(n) is not None] for n in names}


_MLFLOW = {
    "train/loss": "step.loss",
    "grad_norm": "step.grad_norm",
    "lr": "step.learning_rate",
    "eval/loss": "metric.eval/loss",
    "system/gpu_0_power_usage_watts": "sample.power_w",
}


def _mlflow_value(value: float, is_nan: bool) -> float:
    """Return a value as it was logged: MLflow's database has the largest float for infinity, 0 for NaN."""
    largest = sys.float_info.max
    return math.nan if is_nan else math.copysign(math.inf, value) if abs(value) == largest else value


def _mlflow_database(path: Path) -> Values:
    query = (
        "SELECT key, value, is_nan FROM metrics JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'"
    )
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(path)) as database:
        for key, value, is_nan in database.execute(query):
            if key in _MLFLOW:
                found.setdefault(_MLFLOW[key], []).append(_mlflow_value(value, is_nan))
    return found


def _mlflow_files(folder: Path) -> Values:
    found: dict[str, list[float]] = {}
    for meta in folder.glob("*/*/meta.yaml"):
        metrics = meta.parent / "metrics"
        for path in metrics.rglob("*") if "lifecycle_stage: active" in meta.read_text() else ():
            name = path.relative_to(metrics).as_posix()
            if name in _MLFLOW:
                values = [float(line.split()[1]) for line in path.read_text().splitlines()]
                found.setdefault(_MLFLOW[name], []).extend(values)
    return found


def _trackio(path: Path) -> Values:
    with closing(sqlite3.connect(path)) as database:
        logged = [json.loads(row) for (row,) in database.execute("SELECT metrics FROM metrics")]
        system = [json.loads(row) for (row,) in database.execute("SELECT metrics FROM system_metrics")]
    taken = {"loss": "train/loss", "grad_norm": "train/grad_norm", "step": "train/global_step"}
    found = {f"step.{ours}": [row[name] for row in logged if name in row] for ours, name in taken.items()}
    return found | {
        f"sample.power_w@gpu{gpu}": [row[f"gpu/{gpu}/power"] for row in system if f"gpu/{gpu}/power" in row]
        for gpu in (0, 1)
    }


def _trackio_export(folder: Path) -> Values:
    logged, system = (pd.read_parquet(folder / f"tiny{part}.parquet") for part in ("", "_system"))
    taken = {"loss": "train/loss", "grad_norm": "train/grad_norm", "step": "train/global_step"}
    found = {f"step.{ours}": logged[name].tolist() for ours, name in taken.items()}  # NaN was logged
    return found | {f"sample.power_w@gpu{gpu}": _numbers(system[f"gpu/{gpu}/power"]) for gpu in (0, 1)}


READERS: dict[str, Callable[[Path], Values]] = {
    "afterburner/monitoring.hml": _of(
        "gpu", _by_patterns("cp1252", sample__temperature_c=r"^80, [\d-]+ [\d:]+, *([\d.]+) *,")
    ),
    "amd_smi/metric_watch.csv": _by_frame(sample__power_w="socket_power", sample__temperature_c="hotspot"),
    "amd_smi/metric_watch.json": _amd_smi_json,
    "gpu_z/sensors.txt": _of(
        "gpu", _by_frame(sample__temperature_c="GPU Temperature [°C]", sample__power_w="Board Power Draw [W]")
    ),
    "influx/seconds.influx": _by_patterns(sample__power_w=r"power_draw=([\d.]+)"),
    "mlflow/mlflow.db": _mlflow_database,
    "mlflow/mlruns": _mlflow_files,
    "trackio/exported": _trackio_export,
    "trackio/tiny.db": _trackio,
    "powermetrics/power.plist": _of("cpu", _powermetrics),
    "prometheus/dcgm_range.json": _prometheus,
    "rle/pair": _pair,
    "rocm_smi/rocm_5.csv": _by_frame(
        sample__power_w="Average Graphics Package Power (W)", sample__utilization_pct="GPU use (%)"
    ),
    "rocm_smi/rocm_6.csv": _by_frame(
        sample__power_w="Current Socket Graphics Package Power (W)",
        sample__memory_used_bytes="VRAM Total Used Memory (B)",
    ),
    "smi_query/driver_580.txt": _by_patterns(sample__temperature_c=r"GPU Current Temp +: (\d+) C"),
    "smi_screen/driver_384.txt": _by_patterns(
        sample__temperature_c=r"^\|.* (\d+)C +P\d", sample__power_w=r" (\d+)W / "
    ),
    "tegrastats/orin.log": _of(
        "gpu0",
        _by_patterns(sample__utilization_pct=r"GR3D_FREQ (\d+)%", sample__temperature_c=r" gpu@([\d.]+)C"),
    ),
    "text_logs/llm_c.log": _by_patterns(
        step__loss=r"^step.* loss ([\d.]+)", step__grad_norm=r"^step.* norm ([\d.]+)"
    ),
    "text_logs/megatron.log": _by_patterns(
        step__loss=r"lm loss: (\S+)", step__grad_norm=r"grad norm: ([\d.]+)"
    ),
    "text_logs/megatron_old.log": _by_patterns(step__loss=r"lm loss: (\S+)"),
    "text_logs/nanogpt.log": _by_patterns(step__loss=r"^iter \d+: loss ([\d.]+)"),
    "text_logs/trainer.log": _by_patterns(
        step__loss=r"'loss': '?([\d.]+)", step__grad_norm=r"'grad_norm': '?([\d.]+)"
    ),
    "turbostat/summary.tsv": _of(
        "cpu", _by_frame("\t", sample__power_w="PkgWatt", sample__temperature_c="PkgTmp")
    ),
    "amd_smi/monitor.csv": _amd_smi,
    "dcgm/metrics.prom": _dcgm,
    "dcgmi/dmon.txt": _dcgmi,
    "dmon/dated.txt": _dmon,
    "gpustat/repeated.json": _gpustat,
    "huggingface/trainer_state.json": _trainer_state,
    "hwinfo/hwinfo.csv": _hwinfo,
    "keras/semicolons.csv": _keras,
    "keras/training.csv": _keras,
    "lightning/version_0": _lightning,
    "llama_factory/trainer_log.jsonl": _llama_factory,
    "nvidia_smi/query.csv": _nvidia_smi,
    "tables/samples.csv": _table_csv,
    "tables/steps.jsonl": _table_json,
    "tables/steps_and_samples.parquet": _table_parquet,
    "tensorboard/events.out.tfevents.1700000000.host": _tensorboard,
    "ultralytics/results.csv": _ultralytics,
    "ultralytics/yolov5.csv": _ultralytics,
    "wandb/history.csv": _wandb,
    "zeus/power.csv": _zeus_power,
}
