"""Several processes that print into one log: one of them is read, and what others alone have is kept."""

from pathlib import Path
from typing import Any

from importing import Imported, imported, written

Line = tuple[int | None, int, float]  # rank, step, loss


def _titan(tmp_path: Path, lines: list[Line]) -> Imported:
    texts = [
        f"{'' if rank is None else f'[rank{rank}]:'}[titan] 2026-11-24 10:00:{step:02},{500 + (rank or 0)} "
        f"- root - INFO - step: {step:2}  loss: {loss:.4f}  grad_norm: 1.3  memory: 25.71GiB(27.03%)  "
        "tps: 1,234\n"
        for rank, step, loss in lines
    ]
    return imported(tmp_path, written(tmp_path / "t.log", "".join(texts)), timezone="UTC")


def _losses(found: Imported) -> list[tuple[int, Any]]:
    return [(row["step"], row.get("loss")) for row in found.rows("step")]


def test_the_rank_that_has_the_loss_is_read(tmp_path: Path) -> None:
    found = _titan(tmp_path, [(rank, step, (-1.0, 4.5)[rank]) for step in range(1, 5) for rank in (0, 1)])
    assert _losses(found) == [(step, 4.5) for step in range(1, 5)]
    assert found.result["account"] == {"read": 8, "kept": 4, "merged": 0, "left_out": 4}


def test_a_stand_in_for_a_loss_is_none(tmp_path: Path) -> None:
    found = _titan(tmp_path, [(0, step, -8.0) for step in range(1, 5)])  # summed over eight microbatches
    assert _losses(found) == [(step, None) for step in range(1, 5)]
    assert [row["grad_norm"] for row in found.rows("step")] == [1.3] * 4
    assert sum(found.result["nulls"].values()) == 4


def test_steps_that_another_rank_alone_has_are_kept(tmp_path: Path) -> None:
    both: list[Line] = [(rank, step, 4.0 + rank) for step in (3, 4, 5) for rank in (1, 0)]
    alone: list[Line] = [(1, 1, 5.0), (1, 2, 5.0)]
    found = _titan(tmp_path, [*alone, *both, (1, 6, 5.0)])
    assert _losses(found) == [(1, 5.0), (2, 5.0), (3, 4.0), (4, 4.0), (5, 4.0), (6, 5.0)]
    [(reason, count)] = found.result["left_out"].items()
    assert (reason, count) == ("a line of another rank than the one that is read", 3)


def test_processes_without_their_ranks_are_told_apart_where_the_pattern_is_clear(tmp_path: Path) -> None:
    found = _titan(tmp_path / "a", [(None, step, 4.0 + n) for step in range(1, 6) for n in range(2)])
    assert _losses(found) == [(step, 4.0) for step in range(1, 6)]
    assert any("each step is there 2 times" in text for text in found.result["warnings"])
    pairs = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
    mixed = [(None, step, 4.0 + n) for pair in pairs for n in range(2) for step in pair]
    found = _titan(tmp_path / "b", mixed)
    assert len(found.rows("step")) == 20
    assert any("as if several processes" in text for text in found.result["warnings"])


def test_a_training_that_began_again_is_no_second_process(tmp_path: Path) -> None:
    found = _titan(tmp_path, [(None, step, 4.0) for step in (*range(1, 21), *range(1, 21))])
    assert len(found.rows("step")) == 40
    assert not any("processes" in text for text in found.result["warnings"])
