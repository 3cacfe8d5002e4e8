"""TensorBoard's event files, by its own writer: every value at its own wall time and step, in 32 bits."""

import json
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import need, readings, settings, title


def write(run: Run, folder: Path) -> list[Path]:
    """Write one event file; samples stand at the step that training had reached, as it needs one."""
    forms = _Forms()
    file_writer = _module("summary.writer.event_file_writer").EventFileWriter(
        str(folder), max_queue_size=1000, flush_secs=3600, filename_suffix=f".{run.run_id}"
    )
    began_s = (run.facts.get("started_time_ns") or 0) / 1e9
    facts = json.dumps({"name": title(run), **settings(run)}, default=str)
    try:
        file_writer.add_event(forms.event(began_s, 0, [forms.text("thermograd", facts)]))
        for reading in readings(run):
            values = [forms.number(name, value) for name, value in reading.numbers.items()]
            if reading.text:
                values.append(forms.text(f"{reading.kind}/{reading.name}", reading.text))
            file_writer.add_event(forms.event(reading.time_ns / 1e9, reading.at_step, values))
    finally:
        file_writer.close()
    (written,) = folder.iterdir()
    return [written.rename(folder / f"events.out.tfevents.{int(began_s):010d}.{run.run_id}")]


class _Forms:
    """TensorBoard's messages."""

    def __init__(self) -> None:
        self._event = _module("compat.proto.event_pb2").Event
        self._summary = _module("compat.proto.summary_pb2")
        self._tensor = _module("compat.proto.tensor_pb2").TensorProto
        self._shape = _module("compat.proto.tensor_shape_pb2").TensorShapeProto(dim=[{"size": 1}])

    def event(self, wall_time_s: float, step: int, values: list[Any]) -> Any:
        return self._event(wall_time=wall_time_s, step=step, summary=self._summary.Summary(value=values))

    def number(self, name: str, value: float) -> Any:
        return self._summary.Summary.Value(tag=name, simple_value=value)

    def text(self, tag: str, text: str) -> Any:
        """Return a text as TensorBoard's page of texts shows it: an alert's, a mark's, a metric's."""
        tensor = self._tensor(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=self._shape)
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        kind = self._summary.SummaryMetadata(plugin_data=plugin, data_class="DATA_CLASS_TENSOR")
        return self._summary.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _module(name: str) -> Any:
    return need(f"tensorboard.{name}", "tensorboard")
