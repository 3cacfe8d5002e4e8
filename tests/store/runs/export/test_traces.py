"""Perfetto's trace and InfluxDB's lines: every event, read back by a reader of their own."""

import json
import math
import re
from pathlib import Path

import pytest
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.export import export_run
from thermograd.store.telling.episodes import ended_mark

BEGAN_NS = 1_761_699_262_000_000_001
NAME = 'a, b=c "d" <script>\\'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with steps that overlap, an alert that ended, and names that break formats."""
    facts = {"started_time_ns": BEGAN_NS, "devices": {NAME: {"model": None}}}
    made = create_run(tmp_path / "runs", NAME, facts)
    writer = EventWriter(made.path, made.run_id, "writer")
    for step, loss in ((1, 2.5), (2, math.nan), (3, -math.inf), (4, None)):
        times = {"time_ns": BEGAN_NS + step * 10**9, "step_time_s": {1: 1.25, 2: 1.5, 4: None}.get(step, 1.0)}
        writer.append("step", step=step, loss=loss, grad_norm=float(step), skipped=step == 4, **times)
    writer.append("sample", time_ns=BEGAN_NS, device=NAME, power_w=0.1 + 0.2, clock_event_mask=2**63)
    onset_ns = BEGAN_NS + 10**9
    alert = {"alert": "collapse.thermal", "severity": "warning", "device": NAME, "onset_time_ns": onset_ns}
    writer.append("alert", time_ns=BEGAN_NS + 2 * 10**9, message="hot\nand cold", **alert)
    end = {"time_ns": BEGAN_NS + 4 * 10**9, "monotonic_ns": 1}
    writer.append("mark", **ended_mark(end, "collapse.thermal", NAME, onset_ns, BEGAN_NS + 3 * 10**9))
    writer.close()
    return made


def test_a_trace_has_slices_for_steps_and_alerts_and_counters_for_sensors(run: Run, tmp_path: Path) -> None:
    (path,) = export_run(run, "perfetto", tmp_path / "new" / "trace.json")
    trace = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    events = trace["traceEvents"]
    assert trace["metadata"]["began"] == str(BEGAN_NS - 250_000_000)
    steps = [(e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert (
        steps
        == [  # in us since the first began, a quarter before the run; the second began where it ended
            ("step 1", 0.0, 1.25e6),
            ("step 2", 1.25e6, 1e6),
            ("step 3", 2.25e6, 1e6),
        ]
    )
    assert [e["ts"] for e in events if e["name"] == "step 4"] == [4.25e6]  # how long it took is not known
    assert min(e["ts"] for e in events if "ts" in e) == 0.0
    counters = [(e["name"], e["ts"], e["args"]) for e in events if e["ph"] == "C" and e["pid"] >= 10**6]
    assert counters == [
        ("power_w", 250e3, {"power_w": 0.1 + 0.2}),
        ("clock_event_mask", 250e3, {"clock_event_mask": 2**63}),
    ]
    losses = [e["args"]["loss"] for e in events if e["ph"] == "C" and e["name"] == "loss"]
    assert losses == [2.5]
    assert {e["name"] for e in events if e["ph"] == "i" and "loss" in e["name"]} == {
        "loss is nan",
        "loss is -inf",
    }
    (begin,) = (e for e in events if e["ph"] == "b")
    (end,) = (e for e in events if e["ph"] == "e")
    assert (begin["name"], begin["ts"], end["ts"]) == ("collapse.thermal", 1.25e6, 3.25e6)
    assert begin["args"]["message"] == "hot\nand cold"
    named = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert {e["pid"] for e in events} == named.keys()


_LINE = re.compile(
    r'(?P<measurement>\w+),(?P<tags>(?:\\.|[^ \\])+) (?P<fields>(?:"(?:\\.|[^"\\])*"|[^" ])+) (?P<ns>\d+)'
)
_FIELD = re.compile(r'(?P<name>(?:\\.|[^=,\\])+)=(?P<value>"(?:\\.|[^"\\])*"|[^,"]+)')


def test_every_event_is_one_line_and_its_numbers_are_the_same_to_the_bit(run: Run, tmp_path: Path) -> None:
    (path,) = export_run(run, "influx", tmp_path / "run.lp")
    lines = [_LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert len(lines) == 7
    assert all(lines)
    by_kind: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        fields = {m["name"]: m["value"] for m in _FIELD.finditer(line["fields"])}
        by_kind.setdefault(line["measurement"], []).append(fields | {"ns": line["ns"], "tags": line["tags"]})
    steps = by_kind["thermograd_step"]
    assert [int(step["ns"]) for step in steps] == [BEGAN_NS + n * 10**9 for n in (1, 2, 3, 4)]
    assert [step.get("loss") for step in steps] == ["2.5", None, None, None]
    assert [step.get("loss_nonfinite") for step in steps] == [None, '"nan"', '"-inf"', None]
    assert [step["skipped"] for step in steps] == ["false", "false", "false", "true"]
    (sample,) = by_kind["thermograd_sample"]
    assert float(sample["power_w"]) == 0.1 + 0.2
    assert sample["clock_event_mask"] == f"{2**63}u"
    assert r"device=a\,\ b\=c\ " in sample["tags"]
    assert by_kind["thermograd_alert"][0]["message"] == '"hot and cold"'
