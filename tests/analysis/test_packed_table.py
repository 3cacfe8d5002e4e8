"""Events held packed: every column comes back as it was."""

import numpy as np
import pyarrow as pa
import pytest
from thermograd.analysis import packed_table
from thermograd.analysis.packed_table import Collected, PackedTable, in_time_order


def _part(first: int, rows: int, **more) -> pa.Table:
    seq = np.arange(first, first + rows)
    columns = {
        "seq": seq,
        "time_ns": 10**18 + seq * 10**9,
        "power_w": 300 + np.sin(seq),
        "device": ["gpu"] * rows,
    }
    return pa.table(columns | more)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    """Return a collection that packs from 100 rows on."""
    monkeypatch.setattr(packed_table, "_MANY_ROWS", 100)
    return Collected()


def test_few_rows_are_held_as_they_are(collected):
    collected.add(_part(0, 60))
    assert collected.whole().equals(_part(0, 60))


def test_every_column_of_many_rows_comes_back(collected):
    parts = [
        _part(0, 80, fan_pct=pa.nulls(80)),
        _part(80, 80, fan_pct=np.append(np.arange(79.0), np.nan)),
        _part(160, 7),
    ]
    for part in parts:
        collected.add(part)
    held, whole = collected.whole(), pa.concat_tables(parts, promote_options="default")
    assert isinstance(held, PackedTable)
    assert (len(held), held.num_rows, held.column_names) == (167, 167, whole.column_names)
    for name in whole.column_names:
        back = held.column(name)
        assert back.type == whole.column(name).type
        assert str(back.to_pylist()) == str(whole.column(name).to_pylist())  # NaN too
        assert held.null_count(name) == whole.column(name).null_count
    assert in_time_order(held) is held


def test_rows_out_of_order_are_put_in_order(collected):
    for first in (100, 0):
        collected.add(_part(first, 100))
    assert in_time_order(collected.whole()).column("seq").to_pylist() == list(range(200))
