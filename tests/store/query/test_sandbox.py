import time

import pytest
from thermograd.store.errors import QueryError
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.sandbox import query_untrusted
from thermograd.store.runs.catalogue import create_run


def make_run(runs, name="r", close=True):
    run = create_run(runs, name)
    writer = EventWriter(run.path, run.run_id, f"w-{name}")
    writer.append("step", step=1, loss=2.0)
    if close:
        writer.close()
    return run, writer


def test_a_strangers_query_is_answered_like_ones_own(tmp_path):
    make_run(tmp_path)
    answer = query_untrusted("SELECT step, loss FROM steps", tmp_path, timeout_s=60)
    assert answer.to_pylist() == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 4000000000))",
        "SELECT count(*) FROM range(99999999) a, range(99999999) b WHERE a.range < b.range",
        "SELECT * FROM range(100000000)",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{target}'",
        "SELEC",
    ],
)
def test_a_strangers_query_ends_within_its_limits_with_one_message(tmp_path, sql):
    make_run(tmp_path)
    begun = time.monotonic()
    with pytest.raises(QueryError) as caught:
        query_untrusted(sql.format(target=tmp_path / "out"), tmp_path, timeout_s=3)
    assert str(caught.value)
    assert time.monotonic() - begun < 60
    assert not (tmp_path / "out").exists()
