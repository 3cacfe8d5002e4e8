"""The formats that are imported, and what a file is by its content, whatever its name."""

from pathlib import Path

from thermograd.ingest.importers.formats.dcgm import PROMETHEUS_JSON, PROMETHEUS_TEXT
from thermograd.ingest.importers.formats.hwinfo import HWINFO
from thermograd.ingest.importers.formats.nvidia_smi import NVIDIA_SMI
from thermograd.ingest.importers.formats.rle_session import DEVICE_LOG, SIGNALS, STEP_LOG
from thermograd.ingest.importers.formats.tensorboard import TENSORBOARD
from thermograd.ingest.importers.formats.trainer_state import TRAINER_STATE
from thermograd.ingest.importers.formats.wandb import WANDB_CSV, WANDB_FILE
from thermograd.ingest.importers.recording import Format, Head
from thermograd.ingest.importers.text_files import cells_of, readable

FORMATS = (
    *(WANDB_FILE, TENSORBOARD),
    *(TRAINER_STATE, PROMETHEUS_JSON, STEP_LOG),
    *(DEVICE_LOG, NVIDIA_SMI, HWINFO, WANDB_CSV, PROMETHEUS_TEXT),
)
ALLOWED = "a step log, a device log or a W&B run, in the formats of docs/importing.md"
_HEAD_BYTES = 1 << 16
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
}


def recognise(path: Path) -> tuple[Format | None, str]:
    """Return the format of a file by its content, None if it is none; and what it looks like."""
    with readable(path), path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
    head = Head(data, _text(data), len(data) == _HEAD_BYTES)
    for form in FORMATS:
        if form.recognises(head):
            return form, form.name
    return None, _looks(head)


def _text(data: bytes) -> str:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if utf16 else "utf-8-sig", "replace").strip()


def _looks(head: Head) -> str:
    """Return what a file looks like that is of no use."""
    for magic, name in _ARCHIVES.items():
        if head.data.startswith(magic):
            return f"a {name} archive; unpack it first"
    if not head.text:
        return "an empty file"
    if "\0" in head.text or head.text.count("\ufffd") > len(head.text) // 20:
        return "a binary file, not UTF-8 text"
    if head.text.startswith("["):
        return "a JSON list, but not of objects with a 'step'"
    if head.text.startswith("{"):
        return "a JSON object, not a step log (a list) or device log"
    return _table_looks([cell[:40] for cell in cells_of(head.lines[0])[:50]])


def _table_looks(columns: list[str]) -> str:
    if SIGNALS.intersection(columns):
        lacking = "time column (timestamp)" if "timestamp" not in columns else "device column"
        return f"a CSV without a {lacking}; it has: {', '.join(columns)}"
    if len(columns) > 1:
        return f"a CSV that is no device log; it has: {', '.join(columns)}"
    return "text, not a step log or device log"
