"""The engine of one machine: every item answered once, whoever dies."""

import multiprocessing
from contextlib import closing

import pyarrow as pa
import pytest
from fleet_tasks import failed, killed_once, poisoned, slow, squares
from thermograd.analysis.fleet.engines.choice import advice, map_chunks, workers_for
from thermograd.analysis.fleet.engines.local import InThisProcess, Processes
from thermograd.analysis.fleet.engines.mapping import mapped


def chunks_of(count, size=5):
    return [list(range(first, min(first + size, count))) for first in range(0, count, size)]


def rows(tables):
    return pa.concat_tables([table for _, table in sorted(tables, key=lambda pair: pair[0])]).to_pylist()


def own_children():
    """Return our processes: a session's Dask cluster has children of this one, too."""
    return [child for child in multiprocessing.active_children() if "Dask" not in child.name]


def all_have_ended():
    """Return whether they have, once those that were told to had the time for it."""
    for child in own_children():
        child.join(30)
    return not own_children()


@pytest.mark.parametrize("workers", [InThisProcess(squares), Processes(squares, 2)], ids=["loop", "pool"])
def test_every_chunk_is_answered_once_and_empty_ones_not_at_all(workers):
    found = rows(mapped([*chunks_of(23), []], workers, failed))
    assert found == [{"item": each, "square": each * each} for each in range(23)]
    assert all_have_ended()


def test_an_item_that_kills_and_one_that_raises_are_rows_and_the_rest_goes_on():
    found = rows(mapped(chunks_of(40, 10), Processes(poisoned, 2), failed))
    assert [row["item"] for row in found] == list(range(40))
    assert [row["item"] for row in found if row["square"] is None] == [13, 17]
    assert all_have_ended()


def test_a_worker_that_is_killed_costs_no_row(tmp_path):
    items = [(number, str(tmp_path / "killed") if number == 7 else "") for number in range(20)]
    chunks = [items[first : first + 4] for first in range(0, 20, 4)]
    found = rows(mapped(chunks, Processes(killed_once, 2), failed))
    assert [row["square"] for row in found] == [each * each for each in range(20)]
    assert (tmp_path / "killed").exists()


def test_who_stops_half_way_leaves_no_process():
    workers = Processes(slow, 2)
    workers.submit(0, [1])
    with closing(workers):
        assert own_children()
    assert all_have_ended()


def test_the_public_map_keeps_the_order_and_names_what_failed():
    found = pa.concat_tables(map_chunks([[1, 2], [], [3]], squares))
    assert found.column("item").to_pylist() == [1, 2, 3]
    with pytest.raises(ValueError, match="engine is 'spark'; expected one of: local, ray, dask"):
        list(map_chunks([[1]], squares, engine="spark"))


def test_little_work_is_done_here_and_a_cluster_is_advised_against():
    assert isinstance(workers_for(squares, work_s=0.1), InThisProcess)
    assert "does not pay" in advice("ray", 10.0)
    assert advice("local", 10.0) == ""
    assert "a cluster divides that" in advice("local", 1e6)
