"""Published tables hold every event once, whoever publishes, however often, killed or not."""

import json
import multiprocessing
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from fleet_runs import fleet_runs
from publishing import publish_from, published
from scale_runs import write_events
from servers import S3Server
from thermograd.analysis.fleet.publishing.publish import publish
from thermograd.cli import main
from thermograd.store.errors import LogError
from thermograd.store.runs.catalogue import list_runs

deltalake = pytest.importorskip("deltalake")
pytest.importorskip("pyiceberg")
STEPS, SAMPLES, RUNS = 40, 30, 4


@pytest.fixture
def runs(tmp_path):
    """Return a directory of small runs, one of whose samples has the largest mask that there is."""
    folder = tmp_path / "runs"
    made = list(fleet_runs(folder, RUNS, steps=STEPS, samples=SAMPLES))
    count = np.arange(1)
    more = {"seq": count, "time_ns": count + 1_500, "monotonic_ns": count, "clock_event_mask": [2**64 - 1]}
    write_events(made[0], "host-b0", "sample", more | {"device": ["cpu"]})
    return folder


@pytest.fixture(params=["delta", "iceberg"])
def target(request, tmp_path):
    """Return a kind of tables, where they are, and what reads one of them back."""
    from thermograd.analysis.fleet.publishing.delta import DeltaTables
    from thermograd.analysis.fleet.publishing.iceberg import IcebergTables

    place = tmp_path / request.param
    if request.param == "delta":
        return DeltaTables, str(place), lambda name: deltalake.DeltaTable(place / name).to_pyarrow_table()
    from pyiceberg.catalog.sql import SqlCatalog

    def read(name):
        catalog = SqlCatalog("thermograd", uri=f"sqlite:///{place}/catalog.db", warehouse=place.as_uri())
        return catalog.load_table(f"thermograd.{name}").scan().to_arrow()

    return IcebergTables, place, read


def counts(table):
    return dict(sorted(Counter(table["run_id"].to_pylist()).items()))


def expected(per_run, runs=RUNS):
    return {f"fleet-{place:05}": per_run for place in range(runs)}


def test_a_second_publish_adds_nothing_and_what_changed_is_replaced(runs, target):
    target_of, place, read = target
    publish_from(runs, target_of, place)
    assert [outcome.rows for outcome in publish(published(runs), target_of(place))] == [0] * 6
    assert counts(read("steps")) == expected(STEPS)
    mark = {"seq": np.arange(1), "time_ns": np.arange(1), "monotonic_ns": np.arange(1), "step": [41]}
    write_events(list_runs(runs)[1], "host-r1", "step", mark)
    outcome = next(publish(published(runs), target_of(place)))
    assert (outcome.new, outcome.replaced, outcome.unchanged, outcome.rows) == (0, 1, 3, STEPS + 1)
    assert counts(read("steps")) == expected(STEPS) | {"fleet-00001": STEPS + 1}


def test_types_are_those_that_every_engine_knows_and_null_stays_null(runs, target):
    target_of, place, read = target
    publish_from(runs, target_of, place)
    samples = read("samples")
    assert not any(pa.types.is_unsigned_integer(each.type) for each in samples.schema)
    assert samples.schema.field("time").type == pa.timestamp("us", "UTC")
    rows = duckdb.sql(
        "SELECT max(clock_event_mask)::VARCHAR AS mask, count(power_w) AS known, count(*) AS n, "
        "min(epoch_us(time)) AS first FROM samples"
    ).fetchall()
    assert rows == [(str(2**64 - 1), RUNS * SAMPLES, RUNS * SAMPLES + 1, 1)]


def test_a_publisher_that_is_killed_and_repeated_publishes_once(runs, target):
    target_of, place, read = target
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=publish_from, args=(runs, target_of, place, 2))
    child.start()
    child.join(300)
    assert child.exitcode == -9
    publish_from(runs, target_of, place)
    assert counts(read("steps")) == expected(STEPS)


def test_two_publishers_at_once_lose_nothing_and_double_nothing(runs, target):
    target_of, place, read = target
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=publish_from, args=(runs, target_of, place)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0, 0]
    assert counts(read("steps")) == expected(STEPS)
    assert counts(read("samples")) == expected(SAMPLES) | {"fleet-00000": SAMPLES + 1}


def test_delta_tables_on_an_object_store_and_what_the_command_says(runs, s3_server: S3Server, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    place = f"{s3_server.make_bucket()}/tables"
    asked = ["--runs", str(runs), "publish", "--delta", place]
    assert CliRunner().invoke(main, asked).exit_code == 0
    again = CliRunner().invoke(main, [*asked, "--json"])
    assert [(row["new"], row["unchanged"]) for row in json.loads(again.stdout)[:2]] == [(0, 4), (0, 4)]
    assert counts(deltalake.DeltaTable(f"{place}/steps").to_pyarrow_table()) == expected(STEPS)


def test_a_place_that_refuses_is_told_in_one_sentence(runs, s3_server: S3Server, monkeypatch, tmp_path):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for option, place, said in (
        ("--delta", "s3://no-such-bucket/tables", "s3://no-such-bucket/tables: there is no such bucket"),
        ("--iceberg", "s3://no-such-bucket/tables", "no-such-bucket/tables; allowed: a directory"),
    ):
        refused = CliRunner().invoke(main, ["--runs", str(runs), "publish", option, place])
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("s3*"))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("404 Not Found\n <Error><Code>NoSuchBucket</Code>", "there is no such bucket"),
        (
            "403 Forbidden\n <Error><Code>AccessDenied</Code>",
            "access denied; these credentials may not do this",
        ),
        ("Error performing PUT http://169.254.169.254/latest", "no credentials that it accepts"),
        (
            "what nobody\n   \x1b[31m↳\x1b[0m knows at http://me:hunter2@h.org/x",
            "what nobody: knows at http://me:<redacted>@h",
        ),
    ],
)
def test_an_error_of_delta_is_one_line_without_escapes_and_secrets(runs, monkeypatch, told, said):
    from thermograd.analysis.fleet.publishing.delta import DeltaTables
    from thermograd.store.places.bucket import Bucket

    def fails(*_: object, **__: object) -> None:
        raise OSError(f"Kernel error -> Generic S3 error\n   \x1b[31m↳\x1b[0m {told}")

    monkeypatch.setattr(Bucket, "probe", lambda self: None)
    monkeypatch.setattr(deltalake, "DeltaTable", fails)
    with pytest.raises(LogError) as raised:
        DeltaTables("s3://bucket/tables").known(published(runs)[0])
    assert str(raised.value).startswith("cannot publish s3://bucket/tables/steps: ")
    assert said in str(raised.value)
    assert str(raised.value).isprintable()
    assert "hunter2" not in str(raised.value)


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_published(runs, target, monkeypatch):
    target_of, place, read = target
    tables = published(runs)

    def broken():
        raise ValueError("its file is torn")

    source = tables[0].sources[1]
    object.__setattr__(source, "rows", broken)
    outcome = next(publish(tables, target_of(place)))
    assert outcome.errors == {"fleet-00001": "ValueError: its file is torn"}
    assert "fleet-00001" not in counts(read("steps"))
    assert len(counts(read("steps"))) == RUNS - 1


def test_what_cannot_be_done_is_refused_in_a_sentence(runs, tmp_path):
    refused = CliRunner().invoke(main, ["--runs", str(runs), "publish"])
    assert (refused.exit_code, "Give one of --delta and --iceberg" in refused.stderr) == (2, True)
    secret = "s3://key:hunter2@bucket/tables"
    refused = CliRunner().invoke(main, ["--runs", str(runs), "publish", "--delta", secret])
    assert refused.exit_code == 1
    assert "hunter2" not in refused.output + refused.stderr
    in_the_way = Path(tmp_path / "file")
    in_the_way.write_text("x")
    refused = CliRunner().invoke(main, ["--runs", str(runs), "publish", "--iceberg", str(in_the_way)])
    assert refused.exit_code == 1
