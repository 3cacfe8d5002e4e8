"""Tables that hold more than one kind of event, or several rows a step: each is found, and counted once."""

import json
from pathlib import Path
from typing import Any

import pytest
from importing import imported, written
from thermograd.ingest.importers.hints.named import hints_of

BEGAN_S = 1_764_000_000


def lines_of(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps({"time": BEGAN_S + at} | row) + "\n" for at, row in enumerate(rows))


STEPS = [{"step": n, "loss": 3.0 - n / 9999, "text": "x" * 40} for n in range(1000)]
SAMPLES = [{"device": "gpu0", "power_w": 200 + n / 8, "text": "x" * 40} for n in range(1000)]
EVALUATIONS = [{"step": n, "eval_loss": 2.0, "text": "x" * 40} for n in range(1000)]


@pytest.mark.parametrize(
    ("rows", "steps", "samples"),
    [
        ([*STEPS, SAMPLES[0]], 1000, 1),
        ([*SAMPLES, STEPS[0]], 1, 1000),
        ([*EVALUATIONS, STEPS[0], SAMPLES[0]], 1, 1),
    ],
)
def test_what_json_lines_hold_is_found_in_all_of_them(
    tmp_path: Path, rows: list[dict[str, Any]], steps: int, samples: int
) -> None:
    found = imported(tmp_path, written(tmp_path / "m.jsonl", lines_of(rows)))
    assert (found.result["rows"]["step"], found.result["rows"]["sample"]) == (steps, samples)
    assert found.result["account"]["left_out"] == 0


def test_metrics_alone_give_way_to_steps_beside_them(tmp_path: Path) -> None:
    evaluations = written(tmp_path / "logs/eval.jsonl", lines_of(EVALUATIONS[:3]))
    assert imported(tmp_path, evaluations).result["rows"] == {"step": 0, "sample": 0, "metric": 6}
    written(tmp_path / "logs/train.jsonl", lines_of(STEPS[:4]))
    both = imported(tmp_path, tmp_path / "logs").result
    assert both["rows"]["step"] == 4
    assert both["ignored"] == ["eval.jsonl: metrics and no loss; the steps are taken from train.jsonl"]


def test_a_step_beside_each_of_several_devices_is_one(tmp_path: Path) -> None:
    rows = "".join(
        f"{BEGAN_S + n},{n},{2.5 - n / 8},gpu{g},{100 * g + 100}\n" for n in range(5) for g in range(4)
    )
    path = written(tmp_path / "a.csv", f"time,step,loss,device,power_w\n{rows}")
    found = imported(tmp_path, path)
    assert [row["loss"] for row in found.rows("step")] == [2.5 - n / 8 for n in range(5)]
    assert len(found.rows("sample")) == 20
    assert found.result["account"] == {"read": 40, "kept": 25, "merged": 15, "left_out": 0}
    assert found.result["warnings"] == []


@pytest.mark.parametrize(("name", "column"), [("rank", ()), ("global_rank", ()), ("proc", ("rank=proc",))])
def test_ranks_tell_the_rows_of_a_step_apart(tmp_path: Path, name: str, column: tuple[str, ...]) -> None:
    rows = [{"step": n // 2, "loss": 2.0 + n, name: n % 2} for n in range(8)]
    rows.append({"step": 4, "acc": 0.5, name: 1})
    path = written(tmp_path / "m.jsonl", lines_of(rows))
    found = imported(tmp_path, path, hints=hints_of(columns=column))
    assert [(r["step"], r["rank"], r["loss"]) for r in found.rows("step")] == [
        (n // 2, n % 2, 2.0 + n) for n in range(8)
    ]
    (metric,) = found.rows("metric")
    assert (metric["step"], metric["rank"], metric["name"], metric["value"]) == (4, 1, "acc", 0.5)
    assert found.result["warnings"] == []


def test_steps_that_repeat_without_a_rank_are_said(tmp_path: Path) -> None:
    rows = [{"step": n // 2, "loss": 2.0 + n} for n in range(8)]
    (warning,) = imported(tmp_path, written(tmp_path / "m.jsonl", lines_of(rows))).result["warnings"]
    assert "4 rows: the step of the row before once more" in warning


def test_our_own_names_are_our_columns(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "loss": 2.0, "tokens": 4096, "step_time_s": 0.5, "max_grad_norm": 1.0, "skipped": False},
        {"step": 2, "loss": 1.0, "tokens": 4096, "step_time_s": 0.25, "max_grad_norm": 1.0, "skipped": 1},
    ]
    found = imported(tmp_path, written(tmp_path / "m.jsonl", lines_of(rows)))
    assert [{k: v for k, v in row.items() if k in rows[0]} for row in found.rows("step")] == [
        rows[0],
        rows[1] | {"skipped": True},
    ]
    assert found.result["metrics"] == {}
