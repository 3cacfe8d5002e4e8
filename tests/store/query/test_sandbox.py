"""Answers from a child process: what they may take holds wherever the query is, and whatever it answers.

That a query ends by its deadline is told by its sentence, not by a clock: a loaded machine is slow.
"""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pyarrow as pa
import pytest
from thermograd.store.errors import DamagedError, QueryError
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.query import child, connection, sandbox
from thermograd.store.query.sandbox import FOR_STRANGERS, Limits, answer
from thermograd.store.runs.catalogue import create_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")

OWNER, STRANGER = Limits(memory_gb=1.0), FOR_STRANGERS
FORMATS = ("table", "csv", "json", "parquet", "arrow")


def make_run(runs, name="r", steps=1):
    run = create_run(runs, name)
    writer = EventWriter(run.path, run.run_id, f"w-{name}")
    for step in range(1, steps + 1):
        writer.append("step", step=step, loss=2.0)
    writer.close()
    return run


def children():
    return set(psutil.Process().children())


@pytest.fixture
def others():
    """Return the children that this process has had before, such as other tests' resource trackers."""
    return children()


def limited(limits, **changes):
    return Limits(**vars(limits) | {"timeout_s": 100.0} | changes)


def taken(parts):
    """Return the bytes that came until an answer was refused, and what was said."""
    given = []
    try:
        given += parts  # what came before stays
    except QueryError as error:
        return b"".join(given), str(error)
    raise AssertionError("it was answered")


def test_a_query_is_answered_in_every_format(tmp_path):
    make_run(tmp_path)
    sql = "SELECT step, loss FROM steps"
    whole = {f: b"".join(answer(sql, tmp_path, f, limited(STRANGER))) for f in FORMATS}
    assert b"".join(answer(sql, tmp_path, "csv", limited(OWNER))) == whole["csv"]
    assert whole["csv"] == b'"step","loss"\n1,2\n'
    assert json.loads(whole["json"]) == [{"step": 1, "loss": 2.0}]
    assert whole["table"].split() == b"step loss ---- ---- 1 2".split()
    assert pa.ipc.open_stream(whole["arrow"]).read_all().to_pylist() == [{"step": 1, "loss": 2.0}]
    assert whole["parquet"][:4] == whole["parquet"][-4:] == b"PAR1"


@pytest.mark.parametrize(
    ("sql", "limits"),
    [
        ("SELECT * FROM read_text('/etc/passwd')", OWNER),
        ("SELECT * FROM read_text('/etc/passwd')", STRANGER),
        ("COPY (SELECT 1) TO '{target}'", OWNER),
        ("COPY (SELECT 1) TO '{target}'", STRANGER),
        ("SELEC", OWNER),
        ("SELECT 1; SELECT 2", STRANGER),
    ],
)
def test_what_may_not_be_asked_is_refused(tmp_path, sql, limits):
    with pytest.raises(QueryError) as caught:
        list(answer(sql.format(target=tmp_path / "out"), tmp_path / "runs", "csv", limited(limits)))
    assert "took its process down" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


SLOW = [
    "SELECT count(*) FROM range(99999) a, range(99999) b, range(99999) c WHERE a.range < b.range + c.range",
    "SELECT levenshtein(repeat('a', 500000), repeat('b', 500000))",
    "SELECT " + "{'a': " * 900 + "1" + "}" * 900,
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SELECT count(*) FROM t",
    "SELECT NULL FROM range(100000000000)",
]


@pytest.mark.parametrize(("sql", "limits"), [(sql, (OWNER, STRANGER)[i % 2]) for i, sql in enumerate(SLOW)])
def test_the_deadline_holds_while_it_plans_computes_and_writes(tmp_path, sql, limits, others):
    given, said = taken(answer(sql, tmp_path, "json", limited(limits, timeout_s=1.0)))
    assert said == "the query was stopped after 1 s (--timeout)"
    assert given[:1] in (b"", b"[")
    assert children() <= others


LARGE = [
    "SELECT repeat(repeat('x', 60000), 60000)",
    "SELECT len(range(2000000000))",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT range, count(*) FROM range(1000000000) GROUP BY 1",
]
COMMAND = """
import os, sys
from thermograd.cli import main
main(sys.argv[1:])
"""


MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits and tells it so")
@pytest.mark.parametrize(
    ("sql", "options"), [(sql, ((), ("--untrusted",))[i % 2]) for i, sql in enumerate(LARGE)]
)
def test_memory_is_bounded_whatever_is_computed(tmp_path, sql, options):
    memory_gb = 1.0 if options else 0.5  # a stranger's default, or what is said: less is sooner full
    options = ("--timeout", "100", *(options or ("--memory", "0.5")))
    command = [sys.executable, "-c", COMMAND, "--runs", str(tmp_path), "query", sql, "--json", *options]
    small = [sys.executable, "-c", MEASURE, *command]  # a fork of this process would begin with its memory
    process = subprocess.run(small, capture_output=True, text=True, check=True)
    status, peak_kb = map(int, process.stdout.split())
    assert status == 1
    assert "more memory than it may have (--memory)" in process.stderr
    assert peak_kb < (memory_gb + 0.3) * 2**20  # of the larger one


# An answer that is nearly nothing as DuckDB and Arrow have it.
@pytest.mark.parametrize(
    ("sql", "output_format"),
    [
        ("SELECT NULL FROM range(1000000000)", "json"),
        ("SELECT true FROM range(1000000000)", "csv"),
        ("SELECT {'a': NULL, 'b': {'c': NULL}} FROM range(1000000000)", "csv"),
        ("SELECT list_resize([NULL], 1000) FROM range(1000000)", "json"),
        ("SELECT {'" + "n" * 100_000 + "': NULL} FROM range(1000000)", "json"),
    ],
)
def test_an_answer_is_cut_where_it_says_and_only_there(tmp_path, sql, output_format):
    most = limited(STRANGER, answer_bytes=3_000_000, values=None)
    given, said = taken(answer(sql, tmp_path, output_format, most))
    assert "the answer was cut after 3,000,000 bytes" in said
    assert len(given) == 3_000_000


def test_rows_and_values_have_their_limits_too(tmp_path):
    def lines(sql, **limits):
        given, said = taken(answer(sql, tmp_path, "csv", limited(STRANGER, **limits)))
        assert "the answer was cut after 5,000 " in said
        return given.count(b"\n") - 1

    assert lines("SELECT range FROM range(100000)", rows=5_000) == 5_000
    assert lines("SELECT range, range FROM range(100000)", values=5_000) <= 2_500
    assert lines("SELECT [NULL, NULL, NULL] FROM range(100000)", values=5_000) <= 1_250


def test_a_table_shows_its_beginning_and_stops_reading(tmp_path):
    endless = "SELECT NULL FROM range(100000000000)"
    text = b"".join(answer(endless, tmp_path, "table", limited(STRANGER))).decode()
    assert text.endswith("... over 999,000 more rows\n")
    wide = "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(3_000)) + " FROM range(5000)"
    text = b"".join(answer(wide, tmp_path, "table", limited(STRANGER))).decode()
    assert text.endswith("... 4800 more rows\n... 2000 more columns\n")


def test_a_message_has_an_end(tmp_path):
    for sql in (
        "SELECT error(repeat('x', 1000000))",
        "SELECT '" + "9" * 100_000 + "x'::INT",
        "SELECT " + "x" * 100_000,
    ):
        with pytest.raises(QueryError) as caught:
            list(answer(sql, tmp_path, "csv", limited(STRANGER)))
        assert 300 < len(str(caught.value)) < 700
        assert "characters left out" in str(caught.value)


def test_a_reader_who_wants_no_more_ends_the_query(tmp_path, others):
    parts = answer("SELECT * FROM range(100000000000)", tmp_path, "csv", limited(OWNER))
    assert next(parts).startswith(b'"range"\n0\n')
    (child,) = children() - others
    parts.close()
    assert not child.is_running()


@pytest.mark.slow
def test_several_at_once_leave_nothing_behind(tmp_path, others, monkeypatch):
    both, send = threading.Barrier(2, timeout=100.0), sandbox._send

    def sent_when_both_are_there(child, request):
        both.wait()
        send(child, request)

    def said(_):
        return taken(answer(SLOW[0], tmp_path, "csv", limited(STRANGER, timeout_s=1.0)))[1]

    monkeypatch.setattr(sandbox, "_send", sent_when_both_are_there)
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(said, range(2))) == {"the query was stopped after 1 s (--timeout)"}
    assert children() <= others
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_met_late_is_told_and_left_out_when_asked_again(tmp_path, monkeypatch):
    run = make_run(tmp_path, steps=3_000)
    seal_run(run.path, run.run_id)
    monkeypatch.setattr(connection, "_HELD_BACK_BYTES", 0)
    broken = connection._StreamError("Invalid Input Error: the stream broke")
    parts, asked = connection._parts, []

    def breaking(*arguments):
        asked.append(arguments)
        yield b"first"
        if len(asked) == 1:
            raise broken
        yield from parts(*arguments)

    monkeypatch.setattr(connection, "_parts", breaking)
    monkeypatch.setattr(connection, "_damaged", lambda runs: {run.path / "sealed": 0})
    given = connection.stream("SELECT * FROM steps", tmp_path, "csv")
    assert next(given) == b"first"
    with pytest.raises(DamagedError, match="-o"):
        next(given)
    assert list(connection.stream("SELECT count(*) AS n FROM steps", tmp_path, "csv", checked=True))[1:] == [
        b'"n"\n3000\n',
        b"",
    ]


def test_a_platform_without_limits_says_so_in_one_sentence(monkeypatch):
    def refuse(what, limits):
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr("resource.setrlimit", refuse)
    with pytest.raises(QueryError, match=r"cannot bound the memory .* \(it says: current limit exceeds"):
        child.limit(None, 1.0, strict=True)
    child.limit(None, 1.0, strict=False)
