import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings, strategies as st
from thermograd.store.efficiency import columns as columns_module
from thermograd.store.efficiency.columns import INPUT, SCHEMA, efficiency_columns, efficiency_of, rle_column
from thermograd.store.efficiency.estimator import Efficiency

NAMES = ("rle", "rle_smoothed", "collapse")
TYPES = (pa.int64(), *[pa.float64()] * 3)
missing = st.sampled_from([None, None, None, math.nan])
reading = st.tuples(
    st.sampled_from([0, 10**8, 10**8, 200_000_001, 10**9, 10**9, 3_500_000_000, 7 * 10**9, 40 * 10**9]),
    st.sampled_from([95.0, 95.0, 100.0, 99.0, 3.0, 0.0, 120.0]) | missing,
    st.sampled_from([290.0, 250.0, 40.0, 300.5, 0.0, -1.0]) | missing,
    st.sampled_from([60.0, 60.5, 79.0, 82.0, 90.0]) | missing,
)
ratings = st.fixed_dictionaries(
    {"rated_power_w": st.sampled_from([300.0, None]), "temperature_limit_c": st.sampled_from([83.0, None])}
)


def samples(rows):
    time_ns, table = 1_700_000_000_000_000_000, []
    for elapsed_ns, *values in rows:
        time_ns += elapsed_ns
        table.append((time_ns, *values))
    columns = zip(*table, strict=True) if table else [[]] * len(INPUT)
    arrays = [pa.array(list(values), kind) for values, kind in zip(columns, TYPES, strict=True)]
    return pa.table(arrays, names=INPUT)


def bits(values):
    return [None if value is None or math.isnan(value) else float(value).hex() for value in values]


def one_by_one(facts, table):
    """Return the rows of the view, by the estimator itself."""
    estimator = Efficiency(facts["rated_power_w"], facts["temperature_limit_c"])
    rows = []
    for time_ns, *values in zip(*(column.to_pylist() for column in table.columns), strict=True):
        estimator.update(time_ns / 1e9, *values)
        row = {name: getattr(estimator, name) for name in SCHEMA.names[5:-2]}
        if {"power_missing", "rated_power_missing"} & set(estimator.flags):
            row["a_load"] = None
        flags = {"flags": " ".join(sorted(estimator.flags)), "definition": estimator.definition_id}
        rows.append(row | flags)
    return rows


def hexed(row):
    return {name: value.hex() if isinstance(value, float) else value for name, value in row.items()}


def assert_same_bits(facts, table):
    rows = one_by_one(facts, table)
    at_once = efficiency_columns(facts, table)
    np.testing.assert_array_equal(rle_column(facts, table), at_once["rle"])
    for name in NAMES:
        assert bits(at_once[name]) == bits([row[name] for row in rows]), name
    view = [row for part in efficiency_of(facts, table) for row in part.to_pylist()]
    assert list(map(hexed, view)) == list(map(hexed, rows))


@settings(max_examples=150, deadline=None)
@given(ratings, st.lists(reading, max_size=60))
def test_all_readings_at_once_give_the_bits_of_one_after_the_other(facts, rows):
    assert_same_bits(facts, samples(rows))


def test_a_collapse_is_the_same_at_once():
    busy = [(10**9, 95.0, 240.0, 70.0 + 0.02 * second) for second in range(100)]
    down = [(10**9, 75.0 + 20 * (second % 2), 290.0, 79.0 + 0.1 * second) for second in range(40)]
    gone = [(10**9, None, 290.0, 83.0), (10**9, 95.0, 290.0, None)]
    facts = {"rated_power_w": 300.0, "temperature_limit_c": 83.0}
    table = samples(busy + down + gone + down + busy)
    assert efficiency_columns(facts, table)["collapse"][100:140].max() == 1.0
    assert_same_bits(facts, table)


def test_many_readings_in_a_moment_are_taken_one_by_one_with_the_same_bits(monkeypatch):
    """At once, all readings would take as long as those of the densest seconds."""
    rng = np.random.default_rng(4)
    burst = [(1_000_000, 90.0 + rng.uniform(), 200.0, 60.0) for _ in range(400)]
    calm = [(2 * 10**9, 90.0 + rng.uniform(), 200.0, 60.0) for _ in range(2_000)]
    table, facts = samples(burst + calm), {"rated_power_w": 300.0, "temperature_limit_c": 83.0}
    asked = []
    monkeypatch.setattr(columns_module, "estimates", lambda *given: asked.append(given))
    view = [row for part in efficiency_of(facts, table) for row in part.to_pylist()]
    assert list(map(hexed, view)) == list(map(hexed, one_by_one(facts, table)))
    assert asked == []
