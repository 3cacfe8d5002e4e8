"""A run that was exported as line protocol comes back as it was."""

import math
import struct
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused
from thermograd.ingest.importers.recording import Hints
from thermograd.store.events import KINDS
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.export import export_run

BEGAN_NS = 1_761_699_262_000_000_001
DEVICES = ("C:\\", 'a, b=c "d"', "two\nlines\\n", "simulated:gpu", " = ")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with every kind of event, of two ranks, with numbers and names that break formats."""
    made = create_run(tmp_path / "from", "a run", {"started_time_ns": BEGAN_NS})
    writer = EventWriter(made.path, made.run_id, "writer")
    for step, loss in enumerate((0.1 + 0.2, math.nan, -math.inf, None, 5e-324), start=1):
        for rank in (1, 0):
            now = {"time_ns": BEGAN_NS + step * 10**9 + rank, "step": step, "rank": rank}
            writer.append("step", **now, loss=loss, grad_norm=1e300 / 7, skipped=step == 4, tokens=2**62 + 1)
            writer.append("metric", **now, name="eval/a b=c,d\\", value=loss)
            writer.append("metric", **now, name="said", text='1.0\n"x"\\ ')
            writer.append("metric", **now, name="a number's text", text="1.0")
        for device in DEVICES:
            now = {"time_ns": BEGAN_NS + step * 10**9, "device": device}
            writer.append("sample", **now, power_w=step / 3, clock_event_mask=2**64 - 1, energy_j=loss)
    writer.append("alert", time_ns=BEGAN_NS, alert="spike.grad", severity="warning", device="C:\\")
    writer.append("mark", time_ns=BEGAN_NS, mark="note", text="one\ntwo")
    writer.close()
    return made


def events(path: Path, kind: str) -> list[tuple[Any, ...]]:
    """Return time and columns of each event, each float as its bits."""
    names = ["time_ns", *(column.name for column in KINDS[kind])]
    rows = read_kind(path, kind).select(names).to_pylist()
    return sorted(
        (tuple(struct.pack("d", v) if isinstance(v, float) else v for v in row.values()) for row in rows),
        key=repr,
    )


def test_an_exported_run_comes_back_to_the_bit(run: Run, tmp_path: Path) -> None:
    (path,) = export_run(run, "influx", tmp_path / "run.lp")
    found = imported(tmp_path / "to", path)
    for kind, count in (("step", 10), ("sample", 25), ("metric", 28)):
        there = events(run.path, kind)
        there = [row for row in there if kind != "metric" or row[-2:] != (None, None)]
        assert (len(there), found.result["rows"][kind]) == (count, count)
        assert events(found.run.path, kind) == there
    assert found.result["left_out"] == {
        "a row without a value": 2,  # metrics of neither number nor text
        "an alert of the run: an import has those alone that are found in it": 1,
        "a mark of the run: an import has marks of its own": 1,
    }
    assert found.result["warnings"] == []
    assert set(found.run.facts["devices"]) == set(DEVICES)


def test_lines_of_two_runs_are_refused_with_a_list_and_each_can_be_named(run: Run, tmp_path: Path) -> None:
    (path,) = export_run(run, "influx", tmp_path / "run.lp")
    both = tmp_path / "both.lp"
    both.write_text(path.read_text() + path.read_text().replace(run.run_id, "another"))
    assert "2 runs are in it" in refused(tmp_path, both)
    found = imported(tmp_path / "to", both, hints=Hints(run="another"))
    assert found.result["rows"]["step"] == 10
    assert found.result["left_out"]["a line of another run"] == 67


@pytest.mark.parametrize(
    "line",
    [
        "thermograd_step,run=r,rank=0 step=-1i 1761699262000000001",
        "thermograd_step,run=r step=1 1761699262000000001",
        'thermograd_step,run=r step=1i,loss_nonfinite="x" 1761699262000000001',
        "thermograd_step,run=r step=1i,skipped=2 1761699262000000001",
        "thermograd_sample,run=r power_w=1 1761699262000000001",
        'thermograd_sample,run=r,device=a device_json="{",power_w=1 1761699262000000001',
        "thermograd_metric,run=r value=1 1761699262000000001",
        "thermograd_sample,run=r,device=a clock_event_mask=18446744073709551616u 1761699262000000001",
        "thermograd_nothing,run=r,device=a power_w=1 1761699262000000001",
        "thermograd_sample,run=r,device=a power_w=1",
    ],
)
def test_a_damaged_line_is_left_out(tmp_path: Path, line: str) -> None:
    whole = "thermograd_sample,run=r,device=a power_w=1 1761699262000000001\n"
    path = tmp_path / "a.lp"
    path.write_text(whole + f"{line}\n" + whole.replace("power_w=1", "power_w=2").replace("001\n", "002\n"))
    found = imported(tmp_path, path)
    assert found.result["account"] == {"read": 3, "kept": 2, "merged": 0, "left_out": 1}
    (reason,) = found.result["left_out"]
    assert reason.startswith("torn row: ")
