"""`aligned` against the rule, spelled out over every step and sample; and what a query makes it compute."""

import random

import naive
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from synthetic import make_run
from thermograd.store.align.matching import nearest
from thermograd.store.errors import QueryError
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import connect, query
from thermograd.store.query.data import alignment
from thermograd.store.query.data.sources import may_hold
from thermograd.store.runs.catalogue import create_run

TICK_NS = 10**7
EXTREMES_NS = (-(2**63), -(2**63) + 1, -1, 0, 2**62, 2**63 - 2, 2**63 - 1)


def times(chance, count, span):
    """Draw a clock with ties and repeats that now and then steps back."""
    now, drawn = chance.randrange(span), []
    for _ in range(count):
        now += chance.choice((0, 0, 1, 1, 2, 7, -3, -span // 2))
        drawn.append(now * TICK_NS)
    return drawn


def write(runs, name, steps, samples):
    """Write a run from (writer, time) and (writer, time, device); every second writer stays live."""
    run = create_run(runs, name)
    names = sorted({row[0] for row in steps + samples})
    writers = {name: EventWriter(run.path, run.run_id, name) for name in names}
    for number, (writer, time_ns) in enumerate(steps):
        writers[writer].append("step", time_ns, 0, step=number, loss=float(number))
    for number, (writer, time_ns, device) in enumerate(samples):
        writers[writer].append("sample", time_ns, 0, device=device, power_w=float(number))
    for name in names[::2]:
        writers.pop(name).close()
    seal_run(run.path, run.run_id, set(writers))
    return run.run_id, writers.values()


def expected(steps, samples, tolerance_ns):
    """Return {(step, device): (sample number, distance)} by the rule."""
    logged, counts = {}, {}
    for number, (writer, time_ns, device) in enumerate(samples):
        seq = counts[writer] = counts.get(writer, -1) + 1
        logged.setdefault(device, []).append((time_ns, seq, writer, number))
    found = {}
    for device in filter(None, logged):
        ordered = sorted(logged[device])
        index = naive.nearest([t for _, t in steps], [row[0] for row in ordered], tolerance_ns)
        for step, (i, (_, time_ns)) in enumerate(zip(index, steps, strict=True)):
            match = (ordered[i][3], (ordered[i][0] - time_ns) / 1e9) if i >= 0 else (None, None)
            found[step, device] = match
    return found


def answered(runs, run_id, tolerance_s):
    view = f"aligned_with({tolerance_s})"
    table = query(f"SELECT step, device, power_w, dt_s FROM {view} WHERE run_id = '{run_id}'", runs)
    rows = {(row["step"], row["device"]): (row["power_w"], row["dt_s"]) for row in table.to_pylist()}
    assert len(rows) == len(table)
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_every_row_is_by_the_rule_whatever_the_clocks_do(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(alignment, "_BATCH_ROWS", 16)
    chance = random.Random(seed)
    written = []
    for number in range(3):
        span, ranks = chance.choice((3, 40, 400)), chance.choice((1, 3))
        steps = [(f"r{chance.randrange(ranks)}", t) for t in times(chance, chance.randrange(60), span)]
        devices = [f"gpu{i}" for i in range(chance.choice((1, 2, 9)))] + [None] * (seed % 2)
        samples = [
            (f"agent{chance.randrange(ranks)}", t, chance.choice(devices))
            for t in times(chance, chance.randrange(120), span)
        ]
        written.append((*write(tmp_path, f"run{number}", steps, samples), steps, samples))
    for run_id, live, steps, samples in written:
        for tolerance_s in (0, 0.02, 0.07, 1, 1e30):
            tolerance_ns = round(tolerance_s * 1e9)
            assert answered(tmp_path, run_id, tolerance_s) == expected(steps, samples, tolerance_ns)
        for writer in live:
            writer.close()


@pytest.mark.parametrize(("writers", "taken"), [("aab", 1), ("bba", 1), ("ab", 1), ("ba", 0)])
def test_of_equal_times_the_highest_seq_is_taken_then_the_last_writer(tmp_path, writers, taken):
    samples = [(writer, 5, "gpu") for writer in writers]
    run_id, live = write(tmp_path, "r", [("r", 4)], samples)
    assert answered(tmp_path, run_id, 1) == {(0, "gpu"): (float(taken), 1e-9)}
    for writer in live:
        writer.close()


def test_the_ends_of_time_are_compared_exactly(tmp_path):
    steps = [("r", t) for t in EXTREMES_NS]
    samples = [
        ("a", t, device) for device in ("low", "high") for t in EXTREMES_NS if (t < 0) == (device == "low")
    ]
    run_id, live = write(tmp_path, "far", steps, samples)
    assert answered(tmp_path, run_id, 1e30) == expected(steps, samples, 2**64 - 1)
    assert answered(tmp_path, run_id, 1e-9) == expected(steps, samples, 1)
    for writer in live:
        writer.close()


def test_a_day_of_steps_equals_the_matcher_on_arrays_in_every_row(tmp_path):
    rng = np.random.default_rng(5)
    steps = np.sort(rng.integers(0, 2_000_000, 3_000)) * 10**6
    samples = np.sort(rng.integers(0, 2_000, 1_500)) * 10**9
    write(tmp_path, "r", [("r", int(t)) for t in steps], [("r", int(t), "gpu") for t in samples])
    table = query("SELECT sample_seq, sample_time_ns, time_ns FROM aligned ORDER BY step", tmp_path)
    found = np.array([-1 if seq is None else seq for seq in table["sample_seq"].to_pylist()])
    assert (found == nearest(steps, samples, 10**9)).all()
    assert (found == -1).any()
    assert (found >= 0).any()
    assert table["time_ns"].to_pylist() == steps.tolist()


@pytest.fixture
def computed(monkeypatch):
    """Return (run, columns, devices) of every computation that the queries of a test cause."""
    seen, rows, match = [], alignment._rows, alignment._match

    def rows_seen(steps, samples, wanted, run_id):
        seen.append((run_id, set(wanted.columns), []))
        return rows(steps, samples, wanted, run_id)

    def match_seen(times, one, *rest):
        seen[-1][2].append(one.device)
        return match(times, one, *rest)

    monkeypatch.setattr(alignment, "_rows", rows_seen)
    monkeypatch.setattr(alignment, "_match", match_seen)
    return seen


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("run_id = '{0}'", [0]),
        ("run_id IN ('{0}', '{2}') AND loss >= 0", [0, 2]),
        ("run_id = '{1}' AND power_w >= 0 AND device <> 'cpu'", [1]),
        ("run_id = 'nowhere'", []),
        ("run_id > '{0}' AND run_id <= '{1}'", [1]),
        ("loss >= 0", [0, 1, 2]),
    ],
)
def test_only_runs_that_are_asked_for_are_aligned(tmp_path, computed, condition, asked):
    rows = ([("r", 5), ("r", 8)], [("r", 1, "gpu"), ("r", 9, "cpu")])
    ids = [write(tmp_path, name, *rows)[0] for name in "abc"]
    sql = (
        "SELECT run_id, count(dt_s) AS n FROM aligned WHERE "
        + condition.format(*ids)
        + " GROUP BY 1 ORDER BY 1"
    )
    found = query(sql, tmp_path).to_pylist()
    assert [run_id for run_id, _, _ in computed] == [ids[i] for i in asked]
    assert [row["run_id"] for row in found] == [ids[i] for i in asked]
    assert {row["n"] for row in found} <= {2, 4}


def test_only_columns_and_devices_that_are_asked_for_are_aligned(tmp_path, computed):
    write(tmp_path, "a", [("r", 5), ("r", 8)], [("r", 1, "gpu"), ("r", 9, "cpu")])
    assert query("SELECT count(*) AS n FROM aligned", tmp_path).to_pylist() == [{"n": 4}]
    assert computed[-1][1:] == ({"run_id"}, [])
    query("SELECT max(power_w) FROM aligned WHERE device = 'gpu'", tmp_path)
    assert computed[-1][1:] == ({"device", "power_w", "distance_ns"}, ["gpu"])


def test_a_run_without_steps_or_samples_has_no_rows(tmp_path):
    write(tmp_path, "empty", [], [])
    write(tmp_path, "steps", [("r", 1)], [])
    write(tmp_path, "samples", [], [("r", 1, "gpu")])
    write(tmp_path, "nobody", [("r", 1)], [("r", 1, None)])
    assert query("SELECT * FROM aligned", tmp_path).num_rows == 0
    assert query("SELECT * FROM efficiency", tmp_path).num_rows == 1
    assert connect([]).execute("SELECT count(*) FROM aligned").fetchone() == (0,)


@pytest.mark.parametrize(("tolerance", "matched"), [("0", 0), ("'inf'", 1), ("1e-8", 1), ("0.000000004", 0)])
def test_a_tolerance_may_be_anything_that_is_a_number(tmp_path, tolerance, matched):
    write(tmp_path, "r", [("r", 0)], [("r", 5, "gpu")])
    found = query(f"SELECT count(power_w) AS n, count(*) AS rows FROM aligned_with({tolerance})", tmp_path)
    assert found.to_pylist() == [{"n": matched, "rows": 1}]


JOINS = [
    "SELECT count(*) FROM steps s ASOF LEFT JOIN samples m ON s.run_id = m.run_id AND s.time_ns >= m.time_ns",
    "SELECT count(*) FROM steps s JOIN samples m ON m.time_ns BETWEEN s.time_ns - 5 AND s.time_ns + 5",
    "SELECT count(*) FROM steps s JOIN samples m ON m.time_ns > s.time_ns",
]


@pytest.mark.parametrize("sql", JOINS)
def test_a_join_in_time_is_no_loop_over_all_pairs(tmp_path, sql):
    """Arrow data are of unknown size to DuckDB, which takes them for small ones."""
    plan = query(f"EXPLAIN {sql}", tmp_path).to_pylist()[0]["explain_value"]
    assert "Join" in plan
    assert "Nested Loop" not in plan
    assert "NESTED_LOOP" not in plan


def test_a_condition_tells_which_runs_may_be_meant():
    schema = pa.schema({"run_id": pa.string(), "x": pa.int64()})
    run_id, x = ds.field("run_id"), ds.field("x")
    for condition, meant in [
        (run_id == "a", "a"),
        (run_id.isin(["a", "c"]) & (x > 1), "ac"),
        ((run_id == "a") | (x == 1), "abc"),
        (run_id.is_null(), ""),
        (x > 1, "abc"),
        (None, "abc"),
    ]:
        assert "".join(i for i in "abc" if may_hold(schema, condition, run_id=i)) == meant


_NO_SECONDS = {
    "-1": "-1",
    "NULL": "NULL",
    "'x'": "x",
    "'nan'::DOUBLE": "nan",
    "-1e-9": "-1e-09",
    "[1]": "[1]",
}


@pytest.mark.parametrize("chosen", ["count(*)", "step", "*", "temperature_c"])
@pytest.mark.parametrize(("given", "said"), _NO_SECONDS.items())
def test_a_tolerance_that_is_none_is_an_error_whatever_is_asked_for(tmp_path, chosen, given, said):
    make_run(tmp_path, steps=5, seconds=5.0)
    with pytest.raises(QueryError) as refused:
        query(f"SELECT {chosen} FROM aligned_with({given})", tmp_path)
    assert f"tolerance_s is {said}; allowed: a number of seconds, 0 or more" in str(refused.value)


@pytest.mark.parametrize(("given", "said"), _NO_SECONDS.items())
def test_seconds_around_a_time_that_are_none_are_an_error(tmp_path, given, said):
    make_run(tmp_path, steps=5, seconds=5.0)
    with pytest.raises(QueryError) as refused:
        query(f"SELECT count(*) FROM around('2026-01-01', {given})", tmp_path)
    assert f"seconds is {said}; allowed: a number of seconds, 0 or more" in str(refused.value)


def test_what_is_no_moment_is_an_error_and_an_alert_that_is_not_there_is_none(tmp_path):
    make_run(tmp_path, steps=5, seconds=5.0)
    with pytest.raises(QueryError, match="moment is yesterday; allowed: the seq of an alert, or a time"):
        query("SELECT count(*) FROM around('yesterday', 5)", tmp_path)
    nothing = "around((SELECT seq FROM alerts WHERE alert = 'no such'), 5)"
    for found in ("around(12345, 5)", "around(NULL, 5)", nothing):
        assert len(query(f"SELECT * FROM {found}", tmp_path)) == 0


@pytest.mark.parametrize("given", ["0", "'0.5'", "1e300", "(SELECT 1)", "1::DECIMAL(4, 2)", "'inf'::DOUBLE"])
def test_a_tolerance_may_be_any_number_from_0(tmp_path, given):
    make_run(tmp_path, steps=5, seconds=5.0)
    assert query(f"SELECT count(DISTINCT step) AS n FROM aligned_with({given})", tmp_path)[
        "n"
    ].to_pylist() == [5]
