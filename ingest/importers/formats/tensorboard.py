"""Reading TensorBoard event files with TensorBoard's own reader (extra ``import``).

Every scalar has a wall time (epoch seconds), a step and a tag. The files of one folder are one log, as
TensorBoard itself takes them. Scalars are float32 in these files.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Hints, Recording
from thermograd.ingest.importers.steps.metric_names import NO_SIGNAL, ColumnNames
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.text_files import LeftOutError, extra_module, whole_number
from thermograd.ingest.importers.timezones import read_epoch
from thermograd.store.errors import ImportFormatError

_FRAME = struct.Struct("<QI")  # length of the event, checksum of the length
_CHECKSUM_BYTES = 4
_FIRST_EVENT = b"brain.Event:"


def _read_event_files(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "step", TENSORBOARD.name, hints=hints)
    recording.clock, recording.account.place = "wall_time", "event"
    rows = StepRows(recording, ColumnNames(hints.columns), ("step",))
    for path in paths:
        recording.account.reading = path
        plugins: dict[str, str] = {}
        number = 0
        for number, event in enumerate(_events(path), start=1):
            if event.summary.value:
                with recording.row(number):
                    _put(rows, number, event, plugins)
        torn = path.stat().st_size - _end_of(path, number)
        if torn:
            with recording.row(number + 1):
                raise LeftOutError(f"damaged end of {path.name}: the {torn} bytes after event {number}")
    rows.finish()
    return [recording]


def _events(path: Path) -> Iterator[Any]:
    """Yield the events up to the first that is torn or fails its checksum."""
    decode_error = extra_module(path, "google.protobuf.message").DecodeError
    loader = extra_module(path, "tensorboard.backend.event_processing.event_file_loader")
    count = 0
    try:
        for event in loader.LegacyEventFileLoader(str(path)).Load():
            count += 1
            yield event
    except (decode_error, OSError, ValueError) as error:
        raise ImportFormatError(f"{path}, event {count + 1}: no TensorBoard event ({error})") from error


def _put(rows: StepRows, number: int, event: Any, plugins: dict[str, str]) -> None:
    scalars: dict[str, float] = {}
    for value in event.summary.value:
        plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
        scalar = _scalar(value, plugin)
        if scalar is None:
            rows.unknown.add(value.tag)
        else:
            scalars[value.tag] = scalar
    if not scalars:
        raise LeftOutError(NO_SIGNAL)
    moment = read_epoch(event.wall_time)
    if moment is None:
        raise LeftOutError("wall_time is no time between 1970 and 2100", event.wall_time)
    step = whole_number(event.step)
    if step is None:
        raise LeftOutError("step below 0", event.step)
    rows.put(number, moment, {"step": step}, scalars)


def _scalar(value: Any, plugin: str) -> float | None:
    """Return a scalar's value, as either writer has it; None for a text, an image, a histogram."""
    if value.WhichOneof("value") == "simple_value":
        return float(value.simple_value)
    if plugin != "scalars" or value.WhichOneof("value") != "tensor":
        return None
    array = extra_module(Path(), "tensorboard.util.tensor_util").make_ndarray(value.tensor)
    return float(array.item()) if array.size == 1 else None


def _end_of(path: Path, events: int) -> int:
    """Return where the given number of events ends, by their lengths."""
    offset = 0
    with path.open("rb") as file:
        for _ in range(events):
            file.seek(offset)
            offset += _FRAME.size + _FRAME.unpack(file.read(_FRAME.size))[0] + _CHECKSUM_BYTES
    return offset


TENSORBOARD = Format(
    "a TensorBoard event file",
    ("step",),
    lambda head: _FIRST_EVENT in head.data[_FRAME.size : 128],
    _read_event_files,
    several=True,
    hints=frozenset({"units"}),
)
