"""Bit rot and truncation of sealed files: never a wrong event in silence, and other files are read."""

import random

import pyarrow.parquet as pq
import pytest
from thermograd.store.files import sealed_segments
from thermograd.store.log import segments as arrow_module
from thermograd.store.log.reader import kind_parts, read_kind
from thermograd.store.log.reading import damage as damage_module
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.segments import read_sealed
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import create_run


@pytest.fixture(autouse=True)
def told_nothing_yet(monkeypatch):
    monkeypatch.setattr(damage_module, "_told", {})


@pytest.fixture
def two_groups(monkeypatch):
    """Let a sealed file of 40 events have two row groups."""
    write = pq.write_table

    def small(*arguments, **options):
        return write(*arguments, **options | {"row_group_size": 20})

    monkeypatch.setattr(arrow_module.pq, "write_table", small)


def make_run(runs, name, steps=40):
    run = create_run(runs, name, run_id=name)
    writer = EventWriter(run.path, run.run_id, "w")
    for i in range(steps):
        writer.append("step", i, i, step=i, loss=i / 7)
    writer.close()
    seal_run(run.path, run.run_id)
    return run, sealed_segments(run.path, "step")[0].path


def rows(table):
    return list(zip(*(table.column(name).to_pylist() for name in ("seq", "step", "loss")), strict=True))


def expected(count):
    return [(i, i, i / 7) for i in range(count)]


def harm(path, group):
    """Flip a bit in the data of a row group; return where the group begins."""
    column = pq.ParquetFile(path).metadata.row_group(group).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    path.write_bytes(bytes(data))
    return column.data_page_offset


@pytest.mark.usefixtures("two_groups")
def test_a_thousand_flipped_bits_are_never_read_as_other_values(tmp_path):
    _, path = make_run(tmp_path, "r")
    data = path.read_bytes()
    chance = random.Random(0)
    damaged = 0
    for _ in range(1000):
        harmed = bytearray(data)
        bit = chance.randrange(len(data) * 8)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(harmed))
        table = read_kind(tmp_path / "r", "step")
        damage_module._told.clear()
        assert rows(table) == expected(len(table))
        damaged += len(table) < 40
    assert damaged > 500  # the others are in names and statistics that nobody reads


@pytest.mark.usefixtures("two_groups")
def test_a_file_cut_at_any_byte_is_told_from_a_whole_one(tmp_path):
    _, path = make_run(tmp_path, "r")
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert read_sealed(path, "step").damage is not None


@pytest.mark.usefixtures("two_groups")
def test_what_is_before_the_damage_is_read_and_verify_says_where_it_is(tmp_path, caplog):
    run, path = make_run(tmp_path, "r")
    offset = harm(path, 1)
    assert rows(read_kind(run.path, "step")) == expected(20)
    assert [len(part) for part in kind_parts(run.path, "step")] == [20]
    assert caplog.text.count("is damaged at byte") == 1
    report = verify_run(run.path)
    (entry,) = (entry for entry in report["files"] if "reason" in entry)
    assert (entry["events"], entry["offset"]) == (20, offset)
    assert entry["path"].endswith(path.name)


@pytest.mark.usefixtures("two_groups")
@pytest.mark.parametrize("damage", ["page", "cut", "empty"])
def test_a_query_over_many_runs_reads_all_but_what_is_damaged_and_says_so(tmp_path, caplog, damage):
    make_run(tmp_path, "good")
    _, path = make_run(tmp_path, "harmed")
    if damage == "page":
        harm(path, 1)
    else:
        path.write_bytes(path.read_bytes()[: -100 if damage == "cut" else 0])
    answer = query("SELECT run_id, seq, step, loss FROM steps ORDER BY run_id, seq", tmp_path)
    left = 20 if damage == "page" else 0
    assert rows(answer) == expected(40) + expected(left)
    assert path.name in caplog.text


def test_a_query_opens_no_file_of_another_run_and_no_page_of_another_time(tmp_path, caplog):
    """The damage is the proof: who touches the file fails, and says so."""
    make_run(tmp_path, "good")
    _, other = make_run(tmp_path, "other")
    harm(other, 0)
    rest = "SELECT count(*) AS n, sum(seq) AS s FROM steps WHERE"
    assert query(f"{rest} time_ns >= 1000", tmp_path).to_pylist() == [{"n": 0, "s": None}]
    other.write_bytes(b"")
    assert query(f"{rest} run_id = 'good'", tmp_path).to_pylist() == [{"n": 40, "s": 780}]
    assert query("SELECT count(*) AS n FROM marks", tmp_path).to_pylist() == [{"n": 0}]
    assert caplog.text == ""
