"""TensorBoard's event files, by its own writer: every value at its own wall time and step, in 32 bits."""

import json
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import Reading, need, readings, settings, title

_PIP = "tensorboard"


def write(run: Run, folder: Path) -> list[Path]:
    """Write one event file; samples stand at the step that training had reached, as it needs one."""
    events = need("tensorboard.compat.proto.event_pb2", _PIP)
    file_writer = need("tensorboard.summary.writer.event_file_writer", _PIP).EventFileWriter(
        str(folder), max_queue_size=1000, flush_secs=3600, filename_suffix=f".{run.run_id}"
    )
    began_s = (run.facts.get("started_time_ns") or 0) / 1e9
    facts = json.dumps({"name": title(run), **settings(run)}, default=str)
    try:
        file_writer.add_event(_event(events, began_s, 0, [_text("thermograd", facts)]))
        for reading in readings(run):
            values = [_number(name, value) for name, value in reading.numbers.items()] or _words(reading)
            file_writer.add_event(_event(events, reading.time_ns / 1e9, reading.at_step, values))
    finally:
        file_writer.close()
    (written,) = folder.iterdir()
    return [written.rename(folder / f"events.out.tfevents.{int(began_s):010d}.{run.run_id}")]


def _event(events: Any, wall_time_s: float, step: int, values: list[Any]) -> Any:
    summary = need("tensorboard.compat.proto.summary_pb2", _PIP)
    return events.Event(wall_time=wall_time_s, step=step, summary=summary.Summary(value=values))


def _number(name: str, value: float) -> Any:
    return need("tensorboard.compat.proto.summary_pb2", _PIP).Summary.Value(tag=name, simple_value=value)


def _words(reading: Reading) -> list[Any]:
    """Return an alert, a mark or a text as TensorBoard's text page shows it."""
    if not reading.text:
        return []
    return [_text(f"{reading.kind}/{reading.name}", reading.text)]


def _text(tag: str, text: str) -> Any:
    summary = need("tensorboard.compat.proto.summary_pb2", _PIP)
    tensor = need("tensorboard.compat.proto.tensor_pb2", _PIP).TensorProto(
        dtype="DT_STRING",
        string_val=[text.encode()],
        tensor_shape=need("tensorboard.compat.proto.tensor_shape_pb2", _PIP).TensorShapeProto(
            dim=[{"size": 1}]
        ),
    )
    plugin = summary.SummaryMetadata.PluginData(plugin_name="text")
    return summary.Summary.Value(
        tag=tag,
        tensor=tensor,
        metadata=summary.SummaryMetadata(plugin_data=plugin, data_class="DATA_CLASS_TENSOR"),
    )
