"""The engine of one machine: every item answered once, whoever dies."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import fleet_tasks
import pyarrow as pa
import pytest
from fleet_runs import fleet_runs
from fleet_tasks import failed, killed_once, poisoned, slow, squares
from thermograd.analysis.fleet.engines.choice import advice, map_chunks, workers_for
from thermograd.analysis.fleet.engines.local import InThisProcess, Processes
from thermograd.analysis.fleet.engines.mapping import mapped
from thermograd.store.errors import ThermogradError


def chunks_of(count, size=5):
    return [list(range(first, min(first + size, count))) for first in range(0, count, size)]


def rows(tables):
    return pa.concat_tables([table for _, table in sorted(tables, key=lambda pair: pair[0])]).to_pylist()


def own_children():
    """Return our processes: a session's Dask cluster has children of this one, too."""
    return [child for child in multiprocessing.active_children() if "Dask" not in child.name]


def all_have_ended():
    """Return whether they have, once those that were told to had the time for it.

    A pool's own thread waits for them as well: who is not first to hear of an end hears of it later.
    """
    until_s = time.monotonic() + 60
    while own_children() and time.monotonic() < until_s:
        time.sleep(0.02)
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


# As the command does it where the work is much, on two cores.
MUCH_WORK = """
import fleet_tasks, sys
from thermograd.analysis.fleet import analyze
from thermograd.analysis.fleet.engines import choice
from thermograd.cli import main
choice._POOL_PAYS_S, choice.cores, analyze.analyse_chunk = 0, lambda: 2, fleet_tasks.waiting
main(["--runs", sys.argv[1], "analyze", "--all"])
"""


def holds(condition, within_s=120):
    """Return whether a condition holds within some time."""
    end_s = time.monotonic() + within_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.05)
    return condition()


def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C goes to a process group")
def test_ctrl_c_ends_an_analysis_at_once_with_all_its_processes(tmp_path):
    list(fleet_runs(tmp_path, 4, steps=20, samples=20))
    environment = os.environ | {"PYTHONPATH": str(Path(fleet_tasks.__file__).parent)}
    command = [sys.executable, "-c", MUCH_WORK, str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as analysis:
        try:
            assert holds(lambda: len(list(tmp_path.glob("*/*.pid"))) == 2)
            os.killpg(analysis.pid, signal.SIGINT)
            _, told = analysis.communicate(timeout=120)  # of the ten minutes that the work takes
        finally:
            if analysis.poll() is None:
                os.killpg(analysis.pid, signal.SIGKILL)
    assert analysis.returncode == 1
    assert "Traceback" not in told
    assert holds(lambda: is_gone(analysis.pid))


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_script_that_guards_nothing_is_not_run_again_by_workers(engine, tmp_path):
    if engine == "dask":
        pytest.importorskip("distributed")
    script = tmp_path / "analysis_of_mine.py"
    script.write_text(
        "from thermograd.analysis.fleet.engines.choice import workers_for\n"
        "from thermograd.analysis.fleet.engines.mapping import mapped\n"
        "from fleet_tasks import failed, squares\n"
        "print('begins')\n"
        f"found = mapped([[1], [2, 3]], workers_for(squares, {engine!r}), failed)\n"
        "print(sum(table.num_rows for _, table in found), __file__ is not None)\n"
    )
    paths = os.pathsep.join([str(Path(fleet_tasks.__file__).parent), *filter(None, sys.path)])
    with ExitStack() as held:
        with suppress(OSError):  # the dashboard's port is taken, by us or by somebody else
            held.enter_context(socket.create_server(("", 8787)))
        done = subprocess.run(
            [sys.executable, str(script)],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "begins\n3 True\n", "")


def test_a_dask_cluster_that_does_not_start_is_one_sentence(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def fails(**_: object) -> None:
        raise RuntimeError("Nanny failed to start.\nTraceback of four hundred lines")

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    main = sys.modules["__main__"]
    before = (main.__spec__, vars(main).get("__file__"))  # a worker of pytest-xdist has neither
    with pytest.raises(ThermogradError) as raised:
        workers_for(squares, "dask")
    assert str(raised.value) == "cannot start Dask's workers on this machine: Nanny failed to start."
    assert (main.__spec__, vars(main).get("__file__")) == before
