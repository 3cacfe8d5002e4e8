"""The formats that are imported, and what a file is by its content, whatever its name."""

import os
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from thermograd.ingest.importers.formats.epoch_csv import KERAS, ULTRALYTICS
from thermograd.ingest.importers.formats.gpu.afterburner import AFTERBURNER
from thermograd.ingest.importers.formats.gpu.amd_smi import (
    AMD_SMI_CSV,
    AMD_SMI_CSV_UNDATED,
    AMD_SMI_JSON,
    AMD_SMI_JSON_UNDATED,
)
from thermograd.ingest.importers.formats.gpu.gpu_z import GPU_Z
from thermograd.ingest.importers.formats.gpu.gpustat import GPUSTAT_JSON, GPUSTAT_TEXT
from thermograd.ingest.importers.formats.gpu.rocm_smi import ROCM_SMI_CSV, ROCM_SMI_JSON
from thermograd.ingest.importers.formats.hwinfo import HWINFO
from thermograd.ingest.importers.formats.lightning_csv import LIGHTNING_CSV
from thermograd.ingest.importers.formats.llama_factory import LLAMA_FACTORY
from thermograd.ingest.importers.formats.monitors.every import MONITORS
from thermograd.ingest.importers.formats.no_format import looks
from thermograd.ingest.importers.formats.nvidia.dcgmi import DCGMI_DMON
from thermograd.ingest.importers.formats.nvidia.dmon import DMON, DMON_UNDATED
from thermograd.ingest.importers.formats.nvidia.smi_query import SMI_QUERY, SMI_QUERY_XML
from thermograd.ingest.importers.formats.nvidia.smi_screen import SMI_SCREEN
from thermograd.ingest.importers.formats.nvidia_smi import NVIDIA_SMI
from thermograd.ingest.importers.formats.prometheus.answers import PROMETHEUS_JSON
from thermograd.ingest.importers.formats.prometheus.text import PROMETHEUS_TEXT
from thermograd.ingest.importers.formats.rle_session import DEVICE_LOG, STEP_LOG
from thermograd.ingest.importers.formats.stores.mlflow_database import MLFLOW_DATABASE
from thermograd.ingest.importers.formats.stores.mlflow_files import MLFLOW_FILES
from thermograd.ingest.importers.formats.stores.trackio import TRACKIO
from thermograd.ingest.importers.formats.stores.trackio_parquet import TRACKIO_METRICS, TRACKIO_SYSTEM
from thermograd.ingest.importers.formats.stores.wandb_chart import WANDB_CHART, WANDB_CHART_TIMED
from thermograd.ingest.importers.formats.table import TABLES
from thermograd.ingest.importers.formats.tensorboard import TENSORBOARD
from thermograd.ingest.importers.formats.text_logs import OWN_TEXT_LOGS, TEXT_LOGS
from thermograd.ingest.importers.formats.trainer_state import TRAINER_STATE
from thermograd.ingest.importers.formats.wandb import WANDB_CSV, WANDB_FILE
from thermograd.ingest.importers.hints.given import NO_HINTS, Hints
from thermograd.ingest.importers.recording import Format, Head
from thermograd.ingest.importers.stores.runs import StoredRun
from thermograd.ingest.importers.text_files import readable

FORMATS = (
    *(WANDB_CHART, WANDB_CHART_TIMED, TRACKIO_METRICS, TRACKIO_SYSTEM),
    *(WANDB_FILE, TENSORBOARD, MLFLOW_FILES, MLFLOW_DATABASE, TRACKIO),
    *(TRAINER_STATE, PROMETHEUS_JSON, STEP_LOG),
    *(
        DMON,
        DMON_UNDATED,
        DCGMI_DMON,
        GPU_Z,
        AFTERBURNER,
        GPUSTAT_JSON,
        GPUSTAT_TEXT,
        SMI_SCREEN,
        SMI_QUERY,
        SMI_QUERY_XML,
    ),
    *(AMD_SMI_CSV, AMD_SMI_CSV_UNDATED, AMD_SMI_JSON, AMD_SMI_JSON_UNDATED, ROCM_SMI_CSV, ROCM_SMI_JSON),
    *(DEVICE_LOG, NVIDIA_SMI, HWINFO, WANDB_CSV, PROMETHEUS_TEXT),
    *MONITORS,
    *(LIGHTNING_CSV, LLAMA_FACTORY, ULTRALYTICS, KERAS),
    *OWN_TEXT_LOGS,
    *TEXT_LOGS,
    *TABLES,
)
ALLOWED = "a step log, a device log or a W&B run, in the formats of docs/importing.md"
_HEAD_BYTES = 1 << 16
_TAIL_BYTES = 1 << 18
_SEPARATORS = {";": "';'", "\t": "tabulators", "|": "'|'"}


def recognise(path: Path, hints: Hints = NO_HINTS) -> tuple[Format | None, str]:
    """Return the format of a file by its content, None if it is none; and what it looks like.

    One that the hints ask for comes before all others.
    """
    with readable(path), path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
        is_cut = len(data) == _HEAD_BYTES
        head = Head(data, _text(data), is_cut, _tail(file) if is_cut else "", path)
    form = _form(head, hints)
    if form is not None:
        return form, form.name
    unmatched = ", in which --pattern finds no line" if hints.pattern is not None else ""
    return None, (_other_table(head) or looks(head)) + unmatched


def folder_format(folder: Path, hints: Hints = NO_HINTS) -> tuple[Format, tuple[Path, ...]] | None:
    """Return the format that a folder is as a whole, and the files of the run that is meant in it."""
    for form in FORMATS:
        if form.folder is not None and (paths := form.folder(folder, hints)):
            return form, paths
    return None


def stored_runs(path: Path) -> list[StoredRun]:
    """Return the runs in a file or folder; none where it is not of a format that may hold several."""
    for form in FORMATS:
        if path.is_dir() and form.folder is not None and form.runs is not None and (runs := form.runs(path)):
            return runs
    found = recognise(path)[0] if path.is_file() else None
    return found.runs(path) if found is not None and found.runs is not None else []


def _form(head: Head, hints: Hints) -> Format | None:
    """Return the format of a file: that which is asked for, or recognised, or a last resort."""
    forms = chain(
        (form for form in FORMATS if form.asked_for is not None and form.asked_for(head, hints)),
        (form for form in FORMATS if form.recognises(head)),
        (form for form in FORMATS if form.last_resort is not None and form.last_resort(head, hints)),
    )
    found = next(forms, None)
    if found is None or found.last_resort is None:
        return found
    # A table: what a person says of its columns may be of more kinds of event than their names.
    return next((f for f in FORMATS if f.last_resort is not None and f.last_resort(head, hints)), found)


def _tail(file: BinaryIO) -> str:
    """Return the end of a file of UTF-8 text, without the line that it begins in."""
    file.seek(max(_HEAD_BYTES, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return file.read().decode("utf-8", "replace").partition("\n")[2]


def _text(data: bytes) -> str:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if utf16 else "utf-8-sig", "replace").strip()


def _other_table(head: Head) -> str | None:
    """Return which format it would be if its cells were separated by commas; None for none."""
    for separator, name in _SEPARATORS.items():
        if separator not in head.text[:4096] or "\0" in head.text:
            continue
        text = head.text.replace(",", ".").replace(separator, ",")
        other = Head(text.encode(), text, head.is_cut)
        for form in FORMATS:
            if form not in TEXT_LOGS and form.recognises(other):
                return f"{form.name} with {name} between its cells; write it with ',', and '.' in numbers"
    return None
