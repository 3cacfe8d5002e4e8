"""A name that is not known is answered with what there is, not with what DuckDB has of its own."""

import pytest
from thermograd.store.errors import QueryError
from thermograd.store.query.connection import query


def refused(sql):
    with pytest.raises(QueryError) as caught:
        query(sql, [])
    return str(caught.value)


@pytest.mark.parametrize(
    ("sql", "meant"),
    [
        ("SELECT * FROM step", "steps"),
        ("SELECT * FROM Sample", "samples"),
        ("SELECT * FROM main.stepz", "steps"),
        ("SELECT * FROM _step", "steps"),
        ("SELECT * FROM efficency", "efficiency"),
        ("SELECT * FROM around", "around(moment, seconds)"),
        ("SELECT * FROM arround('x', 1)", "around(moment, seconds)"),
        ("SELECT * FROM aligned(0.2)", "aligned_with(tolerance_s)"),
    ],
)
def test_what_is_near_is_suggested(sql, meant):
    said = refused(sql)
    assert f"did you mean {meant}?" in said
    assert "LINE 1: SELECT" in said


@pytest.mark.parametrize("name", ["nope", "pragma_databse_list()", "information_schema.nope", "pg_tabels"])
def test_all_that_there_is_is_named_and_nothing_internal(name):
    said = refused(f"SELECT * FROM {name}")
    assert "allowed: alerts, aligned, config, efficiency, " in said
    assert "steps, throttling, aligned_with(tolerance_s), around(moment, seconds)\n" in said
    assert "Did you mean" not in said
    assert " _" not in said


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT device FROM steps", "device is a column of alerts, aligned, "),
        ("SELECT s.losss FROM steps s", 'Table "s" has no column "losss"'),
        ("SELECT losss FROM steps", 'Candidate bindings: "loss", '),
        ("SELECT metrics FROM steps", "metrics is a view: SELECT ... FROM metrics"),
        ("SELECT accuracy FROM metrics", "A metric is a row of metrics: WHERE name = 'accuracy'"),
        ('SELECT * FROM samples WHERE device = "gpu0"', "Text stands in single quotes: 'gpu0'"),
        ("SELECT * EXCLUDE (power_w) FROM steps", "power_w is a column of aligned, samples"),
        ("SELECT meen(loss) FROM steps", 'Did you mean "mean"?'),
    ],
)
def test_a_column_is_looked_for_where_it_may_be(sql, said):
    assert said in refused(sql)
