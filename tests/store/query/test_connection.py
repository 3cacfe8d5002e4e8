import json
import os
import random
import subprocess
import sys
import threading
import time

import naive
import pytest
from thermograd.store.errors import QueryError
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import connect, query, stream
from thermograd.store.runs.catalogue import Run, create_run


def make_run(runs, steps=(), samples=(), name="r", seal=False, facts=None):
    """Write a run of (time_ns, step) and (time_ns, device, temperature) events."""
    run = create_run(runs, name, facts)
    writer = EventWriter(run.path, run.run_id, "w")
    for time_ns, step in steps:
        writer.append("step", time_ns, 0, step=step, grad_norm=float(step))
    for time_ns, device, temperature in samples:
        writer.append("sample", time_ns, 0, device=device, temperature_c=temperature)
    writer.close()
    if seal:
        seal_run(run.path, run.run_id)
    return run


def test_live_and_sealed_segments_are_one_view(tmp_path):
    run = make_run(tmp_path, [(i, i) for i in range(50)], seal=True)
    writer = EventWriter(run.path, run.run_id, "second")
    for i in range(50, 60):
        writer.append("step", i, 0, step=i)
    rows = query(
        "SELECT writer, count(*) AS n, min(step) AS low FROM steps GROUP BY ALL ORDER BY low", tmp_path
    )
    assert rows.to_pylist() == [{"writer": "w", "n": 50, "low": 0}, {"writer": "second", "n": 10, "low": 50}]
    writer.append("step", 60, 0, step=60)
    assert query("SELECT max(step) AS m FROM steps", tmp_path).to_pylist() == [{"m": 60}]
    writer.close()


def test_views_cover_many_runs_and_skip_what_a_filter_excludes(tmp_path):
    runs = [make_run(tmp_path, [(i, i) for i in range(n)], name=f"r{n}", seal=True) for n in (3, 5)]
    table = query("SELECT run_id, count(*) AS n FROM steps GROUP BY ALL ORDER BY n", tmp_path)
    assert table.to_pylist() == [{"run_id": run.run_id, "n": n} for run, n in zip(runs, (3, 5), strict=True)]
    plan = query(f"EXPLAIN SELECT loss FROM steps WHERE run_id = '{runs[0].run_id}'", tmp_path).to_pylist()
    text = plan[0]["explain_value"]
    assert runs[0].run_id in text
    assert "Filters" in text


def test_runs_view_says_what_there_is(tmp_path):
    run = make_run(tmp_path, name="<x>", facts={"devices": {"gpu": {}}, "source": "imported"})
    row = query("SELECT run_id, name, state, devices FROM runs", tmp_path).to_pylist()[0]
    assert row == {"run_id": run.run_id, "name": "<x>", "state": "imported", "devices": ["gpu"]}


def test_time_is_utc_to_the_nanosecond(tmp_path):
    make_run(tmp_path, [(1_700_000_000_123_456_789, 1)])
    text = query("SELECT CAST(time AS VARCHAR) AS t FROM steps", tmp_path).to_pylist()[0]["t"]
    assert text == "2023-11-14 22:13:20.123456789"


def test_alignment_in_sql_equals_the_rule_in_every_row(tmp_path):
    chance = random.Random(3)
    steps = [(chance.randrange(0, 400) * 10**7, i) for i in range(300)]
    samples = {
        device: [(chance.randrange(0, 400) * 10**7, device, float(i)) for i in range(120)]
        for device in ("a", "b")
    }
    make_run(tmp_path, steps, samples["a"] + samples["b"])
    for tolerance_s in (0.0, 0.02, 1.0):
        table = query(
            f"SELECT step, device, temperature_c, dt_s FROM aligned_with({tolerance_s})", tmp_path
        ).to_pylist()
        assert len(table) == 600
        found = {(row["step"], row["device"]): (row["temperature_c"], row["dt_s"]) for row in table}
        for device, rows in samples.items():
            ordered = sorted(rows, key=lambda row: row[0])  # stable: of equal times the order logged
            index = naive.nearest([t for t, _ in steps], [t for t, _, _ in ordered], round(tolerance_s * 1e9))
            for (step_ns, step), i in zip(steps, index, strict=True):
                expected = (None, None) if i < 0 else (ordered[i][2], (ordered[i][0] - step_ns) / 1e9)
                assert found[step, device] == expected


def test_an_unmatched_step_keeps_its_row_with_its_device(tmp_path):
    make_run(tmp_path, [(0, 1), (10**12, 2)], [(5, "gpu", 40.0)])
    rows = query("SELECT * FROM aligned ORDER BY step", tmp_path).to_pylist()
    assert [(r["step"], r["device"], r["temperature_c"], r["dt_s"], r["sample_seq"]) for r in rows] == [
        (1, "gpu", 40.0, 5e-9, 0),
        (2, "gpu", None, None, None),
    ]
    assert rows[0]["sample_time_ns"] == 5
    assert {"seq", "time_ns", "grad_norm", "utilization_pct", "sample_monotonic_ns"} <= rows[0].keys()


def test_efficiency_is_computed_only_when_asked_for_and_marks_what_is_missing(tmp_path):
    run = create_run(
        tmp_path, "x", {"devices": {"gpu": {"rated_power_w": 100.0, "temperature_limit_c": 80.0}}}
    )
    writer = EventWriter(run.path, run.run_id, "w")
    for i in range(20):
        second = 10**9 * i
        readings = {"utilization_pct": 90.0, "temperature_c": 50.0}
        writer.append("sample", second, 0, device="gpu", power_w=60.0, **readings)
        writer.append("sample", second, 0, device="bare", **readings)
    writer.close()
    rows = query("SELECT * FROM efficiency WHERE time_ns = 10000000000 ORDER BY device", tmp_path).to_pylist()
    assert [row["device"] for row in rows] == ["bare", "gpu"]
    assert rows[0]["a_load"] is None
    assert "power_missing" in rows[0]["flags"]
    assert rows[1]["a_load"] == pytest.approx(0.6)
    assert rows[1]["rle"] == pytest.approx(0.9 / (0.6 * (1 + 1 / 600)))
    assert rows[1]["definition"].startswith("rle_clean")


def test_around_shows_what_happened_near_a_moment(tmp_path):
    make_run(tmp_path, [(i * 10**9, i) for i in range(10)], [(i * 10**9, "gpu", 40.0) for i in range(10)])
    rows = query("SELECT kind, step FROM around('1970-01-01 00:00:05', 1.0)", tmp_path).to_pylist()
    assert sorted((r["kind"], r["step"]) for r in rows if r["kind"] == "step") == [
        ("step", 4),
        ("step", 5),
        ("step", 6),
    ]
    assert sum(r["kind"] == "sample" for r in rows) == 3


HOSTILE = [
    # files
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('{run}')",
    "SELECT * FROM read_blob('{run}')",
    "SELECT * FROM read_json('{run}')",
    "SELECT * FROM read_json_auto('{run}')",
    "SELECT * FROM read_json_objects('{run}')",
    "SELECT * FROM read_ndjson('{run}')",
    "SELECT * FROM read_parquet('{run}')",
    "SELECT * FROM parquet_scan('{run}')",
    "SELECT * FROM parquet_metadata('{run}')",
    "SELECT * FROM parquet_schema('{run}')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '{run}'",
    "SELECT * FROM '/etc/passwd'",
    "FROM '{run}' SELECT count(*)",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM query_table(['/etc/passwd'])",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT getenv('HOME')",
    # writing
    "COPY steps TO '{target}'",
    "COPY (SELECT 1) TO '{target}' (FORMAT parquet)",
    "COPY (SELECT 1) TO '{target}' (USE_TMP_FILE false)",
    "EXPORT DATABASE '{target}'",
    "IMPORT DATABASE '{target}'",
    "WITH x AS (COPY steps TO '{target}') SELECT 1",
    "EXPLAIN ANALYZE COPY steps TO '{target}'",
    "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1",
    "EXPLAIN (ANALYZE) CREATE TABLE x AS SELECT 1",
    "EXPLAIN (ANALYZE, FORMAT json) CREATE TABLE x AS SELECT 1",
    "EXPLAIN/**/ANALYZE CREATE TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE /* /* */ SELECT 1 -- */ */ CREATE TABLE x AS SELECT 1",
    "EXPLAIN CREATE TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE DROP VIEW steps",
    "/* a */ EXPLAIN ANALYZE CREATE VIEW x AS SELECT 1",
    "ATTACH '{target}'",
    "ATTACH '{target}' AS other",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW steps AS SELECT 1",
    "CREATE OR REPLACE VIEW steps AS SELECT 1",
    "DROP VIEW steps",
    "INSERT INTO runs VALUES (1)",
    "DELETE FROM steps",
    "UPDATE steps SET loss = 0",
    # network, extensions, settings
    "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET memory_limit = '100GB'",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "CREATE SECRET s (TYPE s3)",
    "CALL pragma_version()",
    "USE memory",
    "CHECKPOINT",
    # not one query
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW steps",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "",
    ";",
    "-- nothing",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_sql_reaches_no_file_no_setting_and_no_second_statement(tmp_path, sql):
    run = make_run(tmp_path, [(0, 1)], seal=True)
    target = tmp_path / "written"
    before = sorted(p for p in tmp_path.rglob("*"))
    sql = sql.format(run=run.path / "run.json", target=target)
    with pytest.raises(QueryError):
        query(sql, tmp_path)
    with pytest.raises(QueryError):
        list(stream(sql, tmp_path, "json"))
    assert sorted(p for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT 1",
        "explain analyze FROM steps",
        "EXPLAIN (ANALYZE, FORMAT json) SELECT 1",
        "EXPLAIN ANALYZE WITH a AS (SELECT 1) SELECT * FROM a",
        "EXPLAIN (SELECT 1)",
    ],
)
def test_a_select_may_be_explained(sql):
    assert len(query(sql, [])) == 1


def test_a_connection_handed_out_is_as_closed_as_the_command(tmp_path):
    make_run(tmp_path, [(0, 1)])
    connection = connect(tmp_path)
    try:
        assert connection.execute("SELECT count(*) FROM steps").fetchone() == (1,)
        for sql in ("SET threads = 1", "SELECT * FROM read_csv('/etc/passwd')", f"ATTACH '{tmp_path}/x'"):
            with pytest.raises(Exception, match=r"Error"):
                connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_a_limit_of_memory_holds_on_a_machine_of_many_cores_too(tmp_path, monkeypatch):
    """A hundred threads take gigabytes of address space; the child of a query from strangers has three."""
    monkeypatch.setattr(os, "cpu_count", lambda: 192)
    connection = connect(tmp_path, "1GB")
    assert connection.execute("SELECT current_setting('threads')").fetchone() == (8,)
    connection.close()


def test_a_wrong_query_says_where(tmp_path):
    with pytest.raises(QueryError, match=r"(?s)syntax error.*LINE 1: SELEC 1.*\^"):
        query("SELEC 1", tmp_path)
    with pytest.raises(QueryError, match=r"(?s)nonsense.*LINE 1"):
        query("SELECT nonsense FROM steps", tmp_path)


def test_a_query_that_takes_too_long_is_stopped(tmp_path):
    begun = time.monotonic()
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s"):
        query("SELECT count(*) FROM range(99999999) a, range(99999999) b WHERE a.range < b.range", [], 0.3)
    assert time.monotonic() - begun < 60


def test_queries_of_a_growing_run_never_fail_and_never_go_back(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=32)
    stop = threading.Event()

    def grow():
        i = 0
        while not stop.is_set():
            writer.append("step", i, 0, step=i)
            i += 1
            time.sleep(0.0005)
            if i % 500 == 0:
                seal_run(run.path, run.run_id, frozenset({"w"}))

    thread = threading.Thread(target=grow)
    thread.start()
    counts = []
    end = time.monotonic() + 60
    try:
        while len(counts) < 25 or (counts[-1]["n"] == counts[0]["n"] and time.monotonic() < end):
            row = query("SELECT count(*) AS n, max(step) AS m, count(DISTINCT seq) AS d FROM steps", tmp_path)
            counts.append(row.to_pylist()[0])
    finally:
        stop.set()
        thread.join()
    writer.close()
    assert all(c["n"] == c["d"] == (c["m"] + 1 if c["m"] is not None else 0) for c in counts)
    assert [c["n"] for c in counts] == sorted(c["n"] for c in counts)
    assert counts[-1]["n"] > counts[0]["n"]


def test_a_run_with_a_broken_run_json_does_not_break_the_others(tmp_path):
    make_run(tmp_path, [(0, 1)])
    broken = make_run(tmp_path, [(0, 2)], name="broken")
    (broken.path / "run.json").write_text("{ no json")
    assert query("SELECT count(*) AS n FROM steps", tmp_path).to_pylist() == [{"n": 2}]
    assert json.dumps(Run(broken.path).summary())


def test_duckdb_draws_no_progress_into_the_stdout_of_a_program(tmp_path):
    """As it does where it takes Python for interactive, which it does without a script."""
    code = (
        "from thermograd.store.query.connection import query; "
        "print(query(\"SELECT current_setting('enable_progress_bar') AS drawn\", []).to_pylist())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "[{'drawn': False}]\n"
