"""What a person says with --column of a log that a program printed: obeyed or refused, never passed over."""

from pathlib import Path

import pytest
from importing import imported, refused
from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.named import named_columns
from thermograd.store.errors import ImportFormatError

LOGS = Path(__file__).parents[2] / "fixtures/imports/text_logs"
STEPS = {"started_at": "2026-11-24T10:00:00Z", "step_time_s": 1.0}
# A log, whether it has times, the column that is said, and where the first step's value of it was before:
# a column or metric of that name.
SAID = [
    ("megatron", True, "loss=loss scale", "loss scale"),
    ("megatron", True, "tokens=consumed samples", "consumed samples"),
    ("olmo", True, "loss=System/Peak GPU Memory (MB)", "System/Peak GPU Memory (MB)"),  # of a line below
    ("torchtune", False, "grad_norm=lr", "learning_rate"),
    ("torchtune_bar", False, "loss=epoch", "epoch"),  # of a named group
    ("llm_c", False, "epoch=step", "step"),
    ("nanogpt", False, "loss=mfu (%)", "mfu (%)"),  # its unit is part of the name
]


@pytest.mark.parametrize(("log", "is_timed", "said", "before"), SAID)
def test_a_column_is_what_a_person_says(
    log: str, is_timed: bool, said: str, before: str, tmp_path: Path
) -> None:
    options = {"timezone": "UTC"} if is_timed else {}
    hints = Hints() if is_timed else Hints(**STEPS)
    plain = imported(tmp_path / "a", LOGS / f"{log}.log", hints=hints, **options)
    told = imported(
        tmp_path / "b", LOGS / f"{log}.log", hints=hints._replace(columns=named_columns([said])), **options
    )
    column, _, tag = said.partition("=")
    old = {row["step"]: row.get(before) for row in plain.rows("step") if row.get(before) is not None} or {
        row["step"]: row["value"] for row in plain.rows("metric") if row["name"] == before
    }
    new = {row["step"]: row[column] for row in told.rows("step") if row.get(column) is not None}
    assert new == old
    assert new
    assert told.result["columns"][column] == tag


def test_another_name_of_the_step(tmp_path: Path) -> None:
    hints = Hints(columns=(("step", "consumed samples"),))
    found = imported(tmp_path, LOGS / "megatron.log", timezone="UTC", hints=hints)
    plain = imported(tmp_path / "b", LOGS / "megatron.log", timezone="UTC")
    samples = [row["value"] for row in plain.rows("metric") if row["name"] == "consumed samples"]
    assert [row["step"] for row in found.rows("step")] == samples
    assert {row["value"] for row in found.rows("metric") if row["name"] == "step"} == {
        row["step"] for row in plain.rows("step")
    }


@pytest.mark.parametrize("log", ["megatron", "olmo", "torchtune_bar", "fairseq", "trainer"])
def test_a_name_that_no_line_has_is_refused(log: str, tmp_path: Path) -> None:
    is_timed = log not in ("torchtune_bar", "trainer")
    hints = (Hints() if is_timed else Hints(**STEPS))._replace(columns=(("loss", "load_balancing_loss"),))
    text = refused(tmp_path, LOGS / f"{log}.log", hints=hints, **({"timezone": "UTC"} if is_timed else {}))
    assert "--column loss=load_balancing_loss, but this step log has no load_balancing_loss" in text


def test_one_name_is_of_one_column() -> None:
    with pytest.raises(ImportFormatError, match="step is said to be step already"):
        named_columns(["step=step", "epoch=step"])
    assert named_columns(["loss=a", "power_w=a"]) == (("loss", "a"), ("power_w", "a"))  # of two logs
