"""Times by --step-time: a training that began again goes on in time after what was logged before."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from importing import imported, written
from thermograd.ingest.importers.hints.given import Hints

HINTS = Hints("2026-11-24T10:00:00Z", 0.5)
BEGAN_NS = 1795514400 * 10**9
KERAS = "epoch,accuracy,loss\n0,0.5,2.0\n1,0.6,1.5\n0,0.5,2.0\n1,0.7,0.9\n"
LIGHTNING = "epoch,step,train_loss\n0,9,2.5\n0,19,2.25\n1,29,2.125\n0,9,2.5\n0,19,2.25\n1,29,2.1\n"
NANOGPT = "".join(
    f"iter {n}: loss {5 - n / 100}, time 500.00ms, mfu 30.00%\n" for n in (0, 10, 20, 30, 20, 30)
)
LLAMA = "".join(
    json.dumps({"current_steps": n, "total_steps": 100, "loss": 2.5, "lr": 1e-4, "elapsed_time": "0:00:10"})
    + "\n"
    for n in (10, 20, 30, 20, 30)
)
LINES = "".join(json.dumps({"step": n, "loss": 2.5}) + "\n" for n in (10, 20, 30, 20, 30))


@pytest.mark.parametrize(
    ("name", "text", "hints", "steps"),
    [
        ("log.csv", KERAS, HINTS._replace(steps_per_epoch=100), [100, 200, 100, 200]),
        ("metrics.csv", LIGHTNING, HINTS, [9, 19, 29, 9, 19, 29]),
        ("o.log", NANOGPT, HINTS, [0, 10, 20, 30, 20, 30]),
        ("trainer_log.jsonl", LLAMA, HINTS, [10, 20, 30, 20, 30]),
        ("m.jsonl", LINES, HINTS, [10, 20, 30, 20, 30]),
    ],
)
def test_a_restart_goes_on_after_what_was_logged_before(
    name: str, text: str, hints: Hints, steps: list[int], tmp_path: Path
) -> None:
    found = imported(tmp_path, written(tmp_path / name, text), hints=hints)
    rows = found.rows("step")
    assert [row["step"] for row in rows] == steps  # in time: also those that are equal to earlier ones
    apart_ns = (steps[1] - steps[0]) * 500_000_000
    assert {b["time_ns"] - a["time_ns"] for a, b in pairwise(rows)} == {apart_ns}
    assert rows[0]["time_ns"] <= BEGAN_NS + apart_ns
    [warning] = [text for text in found.result["warnings"] if "began again" in text]
    again = steps[steps.index(max(steps)) + 1]
    assert f"what it logs again of steps {again} to {max(steps)} is there twice" in warning


def test_what_is_no_step_may_be_late_without_a_restart(tmp_path: Path) -> None:
    late = '{"step": 10, "eval_loss": 2.0}\n'
    lines = LINES.splitlines(keepends=True)[:3]
    found = imported(
        tmp_path, written(tmp_path / "m.jsonl", "".join([*lines[:2], late, lines[2]])), hints=HINTS
    )
    assert [row["time_ns"] - BEGAN_NS for row in found.rows("step")] == [5 * 10**9, 10 * 10**9, 15 * 10**9]
    assert not [text for text in found.result["warnings"] if "began again" in text]
