"""A query's answer in each format: equal names, odd types, and nothing that is not JSON."""

import contextlib
import csv
import io
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thermograd.store.errors import QueryError
from thermograd.store.query.result_formats import rendered


def encoded(reader, output_format):
    return b"".join(rendered(reader, output_format))


def answer(sql, output_format):
    with duckdb.connect() as connection:
        return encoded(connection.sql(sql).to_arrow_reader(2048), output_format)


def test_equal_column_names_are_told_apart_alike_in_every_format():
    sql, names = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a", ["a", "a_2", "a_1", "a_3"]
    assert answer(sql, "table").decode().split() == ["a", "a", "a_1", "a", "-", "-", "---", "-", *"1234"]
    assert json.loads(answer(sql, "json")) == [dict(zip(names, (1, 2, 3, 4), strict=True))]
    assert next(csv.reader(io.StringIO(answer(sql, "csv").decode()))) == names
    assert pq.read_table(io.BytesIO(answer(sql, "parquet"))).column_names == names
    assert pa.ipc.open_stream(answer(sql, "arrow")).schema.names == names


ODD = "SELECT INTERVAL '14 months 1 day 90 seconds' i, {'a': 1, 'b': 'nan'::DOUBLE} s, MAP {'k': 2} m, "
ODD += "[1, 2] l, 'A\\xFF'::BLOB b, 'inf'::DOUBLE f"
OF_TEXT = ("table", "json", "csv")
NOTHING = contextlib.nullcontext()
INTERVAL = "14 months 1 day 00:01:30"


def test_json_has_null_for_what_is_not_finite_and_text_for_what_it_has_no_type_for():
    def refuse(constant):
        raise AssertionError(constant)

    (row,) = json.loads(answer(ODD, "json"), parse_constant=refuse)
    assert row == {
        "i": INTERVAL,
        "s": {"a": 1, "b": None},
        "m": {"k": 2},
        "l": [1, 2],
        "b": "A\\xFF",
        "f": None,
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT range, [range, NULL] AS l, {'a': {'b': range}, 'c': []} AS s, 'x\n%s\"' AS \"a%b\nc\","
        " MAP {} AS e FROM range(5000)",
        "SELECT 1 WHERE false",
        "SELECT * EXCLUDE (date_array, timestamp_array, timestamptz_array) FROM test_all_types()",
    ],
)
def test_json_in_parts_is_one_document_indented_as_python_does(sql):
    text = answer(sql, "json").decode()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


def test_times_of_nanoseconds_keep_all_digits_inside_values_too_without_pandas():
    sql = "SELECT make_timestamp_ns(1) AS t, [make_timestamp_ns(500000000), NULL] AS l, {'a': MAP {'k': t}} s"
    (row,) = json.loads(answer(sql, "json"))
    first, half = "1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.500000"
    assert row == {"t": first, "l": [half, None], "s": {"a": {"k": first}}}
    shown = answer(sql, "table").decode()
    assert first.replace("T", " ") in shown
    assert f"{{'a': [('k', '{first.replace('T', ' ')}')]}}" in shown


def test_csv_has_nested_values_as_json_text_and_intervals_as_text():
    (row,) = csv.DictReader(io.StringIO(answer(ODD, "csv").decode()))
    assert row == {
        "i": INTERVAL, "s": '{"a": 1, "b": null}', "m": '{"k": 2}', "l": "[1, 2]", "b": "A\\xFF", "f": "inf"
    }  # fmt: skip


def test_parquet_has_an_interval_as_text_and_the_rest_as_it_is():
    (row,) = pq.read_table(io.BytesIO(answer(ODD, "parquet"))).to_pylist()
    assert (row["i"], row["l"], row["b"]) == (INTERVAL, [1, 2], b"A\xff")


@pytest.mark.parametrize("output_format", ["table", "json", "csv", "parquet", "arrow"])
def test_every_type_is_written_or_refused_in_one_sentence(output_format):
    with duckdb.connect() as connection:
        table = connection.sql("SELECT * FROM test_all_types()").to_arrow_table()
    refused = {"date_array", "timestamp_array", "timestamptz_array"} if output_format in OF_TEXT else set()
    for name in table.column_names:
        expected = (
            pytest.raises(QueryError, match=f"column '{name}' has values") if name in refused else NOTHING
        )
        with expected:
            assert encoded(table.select([name]).to_reader(), output_format)


def test_a_cell_on_the_terminal_has_an_end_and_no_escape_and_files_have_all_of_it():
    sql = "SELECT repeat('z', 100000) AS z, 'a' || chr(155) || chr(13) || chr(7) AS \"x\n\", [chr(27)] AS l"
    text = answer(sql, "table").decode()
    assert len(text) < 1000
    assert "…" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert len(answer(sql, "csv")) > 100_000


def test_a_plan_is_drawn_in_its_own_lines():
    assert len(answer("EXPLAIN SELECT 1", "table").decode().splitlines()) > 3
