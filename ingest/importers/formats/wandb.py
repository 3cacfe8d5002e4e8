"""Reading Weights & Biases: the ``.wandb`` file of an offline run, and the CSV of an exported history.

The file is a LevelDB log of protobuf records; wandb no longer ships a Python reader of the log, so its
framing is read here and the records with wandb's own classes (extra ``import``). History rows become
steps, system metrics samples.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.stores.run_log import RunLog
from thermograd.ingest.importers.formats.stores.wandb_run import RunFacts, run_file, stored_runs
from thermograd.ingest.importers.recording import Format, Hints, Recording
from thermograd.ingest.importers.said_columns import require_names, said_columns
from thermograd.ingest.importers.steps.metric_names import NO_SIGNAL
from thermograd.ingest.importers.text_files import LeftOutError, extra_module, number_or_text
from thermograd.ingest.importers.timezones import Moment, read_epoch
from thermograd.store.errors import ImportFormatError

_MAGIC = b":W&B"
_HEADER_BYTES = 7
_BLOCK_BYTES = 32_768
_FRAME = struct.Struct("<IHB")  # CRC-32, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_GPU = re.compile(r"(?:system\.)?gpu\.(?P<index>\d+)\.(?P<metric>\w+)")
_CORE = re.compile(r"(?:system\.)?cpu\.\d+\.cpu_percent")
_PROCESS = re.compile(r"(?:system\.)?cpu")
_METRICS = {
    "gpu": "utilization_pct",
    "temp": "temperature_c",
    "powerWatts": "power_w",
    "enforcedPowerLimitWatts": "power_limit_w",
    "memoryAllocatedBytes": "memory_used_bytes",
    "smClock": "sm_clock_mhz",
    "memoryClock": "memory_clock_mhz",
    "fanSpeed": "fan_pct",
    "correctedMemoryErrors": "ecc_corrected",
    "uncorrectedMemoryErrors": "ecc_uncorrected",
}
_PROCESS_NOTE = "its utilization is the training process's own share of all processors (W&B's metric cpu)"


class _Run(RunLog):
    """The two recordings of one W&B log."""

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints, place: str = "line") -> None:
        super().__init__(paths, format, hints, place, "_step")
        self.steps.clock = self.samples.clock = "_timestamp"
        self._said = {tag: name for name, tag in said_columns(hints).items()}

    def history(self, number: int, row: dict[str, Any]) -> None:
        """Take one row of the history: its signals, at its step (whichever counter that is) and time."""
        counters = self.rows.counters_in(row)
        signals = {
            name: value
            for name, value in row.items()
            if name not in self.rows.step_tags and not name.startswith("_")
        }
        if not signals:
            raise LeftOutError(NO_SIGNAL)
        if not counters:
            raise LeftOutError("torn row: _step is not a whole number >= 0", row.get("_step"))
        self.rows.put(number, _moment(row.get("_timestamp")), counters, signals)

    def stats(self, number: int, moment: Moment, metrics: dict[str, Any]) -> None:
        """Take one reading of the system's metrics: a sample of each device in it."""
        devices: dict[str, dict[str, Any]] = {}
        for name, value in metrics.items():
            match = _GPU.fullmatch(name)
            column = self._column(name, match["metric"] if match else "")
            if column is not None and value is not None:
                device = f"gpu{match['index']}" if match else self._device(name)
                devices.setdefault(device, {})[column] = self.samples.value(column, value)
            elif not _CORE.fullmatch(name) and not _PROCESS.fullmatch(name):
                self._unknown.add(name)
        share = self._processor(metrics)
        if share is not None:
            devices["cpu"] = {"utilization_pct": self.samples.value("utilization_pct", share)}
        for device, values in devices.items():
            if any(value is not None for value in values.values()):
                self.samples.add(number, moment, {"device": device} | values)

    def _column(self, name: str, metric: str) -> str | None:
        """Return the column of a system metric: as a person says (of one GPU, or of each), or as is known."""
        tag = name if name in self._said else metric
        if tag in self._said:
            self.samples.columns[self._said[tag]] = tag
            return self._said[tag]
        column = _METRICS.get(metric)
        if column is None or column in self._said.values():
            return None
        self.samples.sources.setdefault(column, name)
        return column

    def _device(self, name: str) -> str:
        return "cpu" if "cpu" in name.lower() else self.samples.hints.device or "gpu"

    def _processor(self, metrics: dict[str, Any]) -> float | None:
        numbers = {name: float(value) for name, value in metrics.items() if _is_number(value)}
        cores = [value for name, value in numbers.items() if _CORE.fullmatch(name)]
        own = [value for name, value in numbers.items() if _PROCESS.fullmatch(name)]
        if own and not cores:
            self.samples.notes["cpu"] = {"device": _PROCESS_NOTE}
        return sum(cores) / len(cores) if cores else own[0] if own else None

    def finish(self) -> list[Recording]:
        """Return both recordings."""
        recordings = super().finish()
        require_names(self.samples, self._unknown | set(self.samples.columns.values()))
        return recordings


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return isinstance(value, float)


def _moment(value: Any) -> Moment:
    moment = read_epoch(value) if isinstance(value, int | float) else None
    if moment is None:
        raise LeftOutError("torn row: _timestamp is no time between 1970 and 2100", value)
    return moment


# -- the file of an offline run ------------------------------------------------------------------


def _read_file(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    path = paths[0]
    run = _Run(paths, WANDB_FILE.name, hints, "record")
    record_class = extra_module(path, "wandb.proto.wandb_internal_pb2").Record
    decode_error = extra_module(path, "google.protobuf.message").DecodeError
    facts = RunFacts()
    for number, data in enumerate(_records(path, run), start=1):
        try:
            record = record_class.FromString(data)
        except decode_error as error:
            raise ImportFormatError(f"{path}, record {number}: no record of W&B ({error})") from error
        _put(run, number, record)
        facts.take(record.WhichOneof("record_type"), record)
    run.steps.told = run.samples.told = facts.require(path, hints.run)
    run.steps.config = facts.config(path)
    return run.finish()


def _records(path: Path, run: _Run) -> Iterator[bytes]:
    """Yield the records of a log, up to the first that is torn or fails its checksum."""
    size = path.stat().st_size
    number = 0
    with path.open("rb") as file:
        good = file.seek(min(_HEADER_BYTES, size))
        parts: list[bytes] = []
        while (fragment := _fragment(file, size)) is not None:
            kind, data = fragment
            parts = [data] if kind in (_FULL, _FIRST) else [*parts, data]
            if kind in (_FULL, _LAST):
                good, number = file.tell(), number + 1
                yield b"".join(parts)
        file.seek(good)
        rest = file.read(_BLOCK_BYTES)
    if size > good and (len(rest) >= _FRAME.size or any(rest)):  # else only padding
        with run.steps.row(number + 1):
            raise LeftOutError(f"damaged end of the file: the {size - good} bytes after byte {good}")


def _fragment(file: Any, size: int) -> tuple[int, bytes] | None:
    """Return type and content of the next fragment; None at the end, or where one is torn or damaged."""
    offset = file.tell()
    left = _BLOCK_BYTES - offset % _BLOCK_BYTES
    if left < _FRAME.size:
        offset = file.seek(offset + left)
    if offset + _FRAME.size > size:
        return None
    crc, length, kind = _FRAME.unpack(file.read(_FRAME.size))
    data = file.read(length)
    if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(data) < length:
        return None
    return (kind, data) if zlib.crc32(data, zlib.crc32(bytes([kind]))) == crc else None


def _put(run: _Run, number: int, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "history":
        with run.steps.row(number, _shown(record)):
            run.history(number, {_key(item): _value(item) for item in record.history.item})
    elif kind == "stats":
        with run.samples.row(number, _shown(record)):
            stamp = record.stats.timestamp
            moment = Moment(stamp.seconds * 10**9 + stamp.nanos, naive=False)
            run.stats(number, moment, {item.key: _value(item) for item in record.stats.item})


def _shown(record: Any) -> str:
    items = (*record.history.item, *record.stats.item)
    return ", ".join(f"{_key(item)} {item.value_json}" for item in items[:8])


def _key(item: Any) -> str:
    return item.key or ".".join(getattr(item, "nested_key", ()))


def _value(item: Any) -> Any:
    try:
        return json.loads(item.value_json)
    except (ValueError, RecursionError) as error:
        raise LeftOutError("torn row: a value that is no JSON", item.value_json) from error


# -- an exported history -------------------------------------------------------------------------


class _History(Table):
    """An exported history: a row may hold a step, samples, or both."""

    kinds = ("step", "sample")
    finds_said_columns = True
    head_lines = 1

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._run = _Run(paths, format, hints)
        self.recording = self._run.steps

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns have a time or a step."""
        return "_timestamp" in cells or ("_step" in cells and len(cells) > 1)

    def begin(self, number: int) -> None:
        """Refuse a history without times."""
        if "_timestamp" not in self.header:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this history of W&B has no _timestamp, so it is no "
                "time series; export it with _timestamp (as the API's run.history() does)"
            )

    def row(self, number: int, cells: list[str]) -> tuple[()]:
        """Give the row to the two recordings."""
        self.recording.require_new(tuple(cells))
        row = {name: number_or_text(text) for name, text in zip(self.header, cells, strict=True) if text}
        system = {name: value for name, value in row.items() if name.startswith("system.")}
        others = {name: value for name, value in row.items() if name not in system and name != ""}
        if system:
            with self._run.samples.row(number):
                self._run.stats(number, _moment(row.get("_timestamp")), system)
        if not system or any(not name.startswith("_") for name in others):
            self._run.history(number, others)
        else:
            self.recording.account.leave_to_other()
        return ()

    def read(self) -> list[Recording]:
        """Read the file."""
        super().read()
        return self._run.finish()


WANDB_FILE = Format(
    "a W&B run (.wandb)",
    ("step", "sample"),
    lambda head: head.data.startswith(_MAGIC),
    _read_file,
    hints=frozenset({"units", "columns", "device", "run"}),
    folder=run_file,
    runs=stored_runs,
)
WANDB_CSV = csv_format("a W&B history (CSV)", _History)
