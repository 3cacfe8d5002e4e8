"""Entries of steps: which are one row, and that it does not matter how many of them are held in memory."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.rows import metric_values
from thermograd.ingest.importers.rows.metric_values import NO_STEP
from thermograd.ingest.importers.rows.workplace import working_in
from thermograd.ingest.importers.steps import entries, step_rows
from thermograd.ingest.importers.steps.merging import first_places
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.timezones import Moment

_TAGS = ("loss", "train/loss", "grad_norm", "lr", "epoch", "accuracy")


def _one_by_one(steps: list[int], masks: list[int]) -> list[int]:
    latest: dict[int, tuple[int, int]] = {}
    found = []
    for place, (step, mask) in enumerate(zip(steps, masks, strict=True)):
        begun, held = latest.get(step, (place, 0))
        begun, held = (place, 0) if mask & held or step == NO_STEP else (begun, held)
        latest[step] = begun, held | mask
        found.append(begun)
    return found


def test_entries_of_a_step_are_one_row_until_a_column_comes_again() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        last, count = rng.choice((3, 30, 300)), rng.randrange(1, 200)
        steps = [rng.randrange(-1, last) for _ in range(count)]
        steps = sorted(steps) if seed % 3 == 0 else steps
        masks = [rng.choice((0, 1, 2, 4, 6)) for _ in steps]
        numbers = np.array(steps)
        first = first_places(numbers, np.array(masks), numbers != NO_STEP)
        assert first.tolist() == _one_by_one(steps, masks)


def _recorded(seed: int) -> tuple[Any, ...]:
    rng = random.Random(seed)
    recording = Recording((Path("a.log"),), "step", "a log")
    names = ColumnNames(())
    rows = StepRows(recording, names, names.step_tags("_step"))
    for line in range(1, 100):
        step = rng.choice((line // 3, line % 33))
        values = {tag: rng.choice((1.0, 2.5, None, "x")) for tag in _TAGS if rng.random() < 0.4}
        with recording.row(line):
            rows.put(
                line, Moment(10**18 + line, False), {"_step": step} if rng.random() < 0.9 else {}, values
            )
    rows.finish()
    account = recording.account
    parts = {kind: [part for _, part in store.batches()] for kind, store in recording.stores().items()}
    tables = {kind: pa.concat_tables(of, promote_options="default").to_pylist() for kind, of in parts.items()}
    fates = account.kept, account.merged, account.left_out, account.first_left_out, account.nulls
    return tables, fates, recording.metrics.counts(), recording.columns


def test_what_is_put_on_the_disk_comes_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_memory = [_recorded(seed) for seed in range(12)]
    for module in (entries, step_rows):
        monkeypatch.setattr(module, "BATCH_ENTRIES", 7)
    monkeypatch.setattr(entries, "_PACKED", 5)
    monkeypatch.setattr(step_rows, "_PART", 4)
    monkeypatch.setattr(metric_values, "_BATCH_VALUES", 11)
    monkeypatch.setattr("thermograd.ingest.importers.rows.spill._IN_MEMORY_BYTES", 0)
    with working_in(tmp_path, None):
        assert [_recorded(seed) for seed in range(12)] == in_memory
    assert all(fates[0] and fates[1] and fates[2] for _, fates, *_ in in_memory)


def test_of_rows_that_have_no_step_nothing_is_left() -> None:
    recording = Recording((Path("a.log"),), "step", "a log")
    rows = StepRows(recording, ColumnNames(()), ("_step",))
    with recording.row(1):
        rows.put(1, Moment(10**18, False), {}, {"loss": 1.0, "accuracy": 2.0})
    rows.finish()
    assert recording.is_empty
    assert recording.stores() == {}
    assert recording.account.left_out.total() == recording.account.read.total() == 1
