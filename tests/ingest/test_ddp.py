"""Several processes that train together: norms and losses on every rank, one run, a file a rank."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ports import reserved_port

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
        reason="torch is built without gloo",
    ),
]

from thermograd.store.experiment.marks import read_experiments  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.query.connection import query  # noqa: E402
from thermograd.store.runs.catalogue import list_runs  # noqa: E402

SCRIPT = Path(__file__).parents[1] / "support" / "two_ranks.py"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Train in every distributed style on two ranks; return the folder of what they wrote."""
    out = tmp_path_factory.mktemp("job")
    with reserved_port() as port:
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        shared |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        ranks = [
            subprocess.Popen(
                [sys.executable, str(SCRIPT), str(out)],
                env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
            )
            for rank in range(2)
        ]
        errors = [rank.communicate(timeout=300)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    return out


def phase(job, name):
    """Return, rank by rank, what was expected and the steps that were logged, and the run's path."""
    written = [json.loads((job / f"{name}-{rank}.json").read_text()) for rank in range(2)]
    assert written[0]["run"] == written[1]["run"]
    path = job / "runs" / written[0]["run"]
    steps = read_kind(path, "step").to_pylist()
    return [w["expected"] for w in written], [[s for s in steps if s["rank"] == r] for r in range(2)], path


def test_a_step_of_two_ranks_counts_once(job):
    from thermograd.analysis.report.text.analysis import describe_analysis
    from thermograd.analysis.report.wording import steps_text
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series
    from thermograd.store.runs.describe import describe_run, run_facts_shown
    from thermograd.store.runs.table import RunRow, runs_table

    _, steps, path = phase(job, "ddp")
    run = next(run for run in list_runs(path.parent) if run.path == path)
    assert list(map(len, steps)) == [3, 3]
    assert (run.summary()["steps"], run.summary()["ranks"]) == (3, 2)
    assert "3 steps on 2 ranks, " in describe_run(run_facts_shown(run))
    header, _, row = runs_table([RunRow(run).to_json()]).splitlines()
    assert (
        dict(zip(*(re.split(r"  +", line) for line in (header, row)), strict=False))["ranks"].strip() == "2"
    )
    told = query(
        f"SELECT r.steps, r.ranks, count(*) AS rows FROM runs r JOIN steps USING (run_id) "
        f"WHERE run_id = '{run.run_id}' GROUP BY ALL",
        [run],
    ).to_pylist()
    assert told == [{"steps": 3, "ranks": 2, "rows": 6}]
    assert steps_text(load_series(run)).startswith("3 steps on 2 ranks in ")
    analysis = analyze_run(run)
    assert (analysis.alignment["steps"], analysis.alignment["ranks"]) == (3, 2)
    assert "of 3 steps on 2 ranks have a sample" in describe_analysis(analysis)


@pytest.mark.parametrize("name", ["ddp-clipped", "ddp", "fsdp2-clipped", "fsdp1-clipped"])
def test_every_rank_logs_its_own_loss_and_the_norm_of_the_whole(job, name):
    expected, steps, path = phase(job, name)
    assert "note" not in [m["mark"] for m in read_kind(path, "mark").to_pylist()]
    for rank in range(2):
        logged = [(s["loss"], s["grad_norm"]) for s in steps[rank]]
        assert logged == [
            (pytest.approx(e[0], rel=1e-6), pytest.approx(e[1], rel=1e-6)) for e in expected[rank]
        ]
        assert {s["max_grad_norm"] for s in steps[rank]} == {0.5 if "clipped" in name else None}
    assert expected[0][0][0] != expected[1][0][0]


@pytest.mark.parametrize("name", ["fsdp2", "mixed"])
def test_shard_norms_say_so_and_combine_to_the_norm_of_the_whole(job, name):
    expected, steps, path = phase(job, name)
    for own in steps:
        assert all(s["grad_norm"] < 0.999 * e[1] for s, e in zip(own, expected[0], strict=True))
    recipe = (
        "SELECT step, sqrt(sum(grad_norm * grad_norm)) AS norm FROM steps "
        f"WHERE run_id = '{path.name}' GROUP BY step ORDER BY step"
    )
    combined = query(recipe, job / "runs").to_pylist()
    assert [row["norm"] for row in combined] == [pytest.approx(e[1], rel=1e-6) for e in expected[0]]
    notes = [m for m in read_kind(path, "mark").to_pylist() if m["mark"] == "note"]
    assert sorted(json.loads(m["detail"])["rank"] for m in notes) == [0, 1]
    assert {json.loads(m["detail"])["grad_norm"] for m in notes} == {"shard"}


def test_shadow_steps_leave_both_ranks_as_they_are_without(job):
    told = [json.loads((job / f"shadow-{rank}.json").read_text()) for rank in range(2)]
    assert [(t["is_equal"], t["pulses"]) for t in told] == [(True, 5), (True, 5)]
    assert told[0]["losses"] != told[1]["losses"]
    assert all("a model that communicates in its passes" in t["refused"] for t in told)
    assert all(t["is_equal_where_refused"] for t in told)


def test_both_ranks_write_files_of_their_own_in_one_run_that_rank_0_describes(job):
    runs = {run.name: run for run in list_runs(job / "runs")}
    assert set(runs) == {
        *("ddp-clipped", "ddp", "fsdp2-clipped", "fsdp2", "mixed", "fsdp1-clipped", "without", "duty")
    }
    run = runs["ddp"]
    assert run.facts["job"] == {"rank": 0, "local_rank": 0, "world_size": 2, "node_rank": None}
    assert len(run.writers()) == 2
    started = [m for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "run_started"]
    places = [json.loads(m["detail"]) for m in started]
    assert sorted((p["rank"], p["local_rank"], p["world_size"]) for p in places) == [(0, 0, 2), (1, 1, 2)]
    assert run.state() == "finished"
    assert math.isfinite(run.summary()["steps"])


def test_a_duty_cycle_leaves_every_ranks_losses_equal_bit_by_bit(job):
    without, _, _ = phase(job, "without")
    losses, steps, path = phase(job, "duty")
    assert losses == without
    assert losses[0] != losses[1]
    (experiment,) = read_experiments(read_kind(path, "mark").to_pylist())
    assert experiment.faults == []
    assert [(a.index, a.rank, a.steps) for a in experiment.failures] == [(6, 0, 0)]  # the run ends before it
    assert sum(applied.idle_s for applied in experiment.applied.values()) > 0
    assert [len(own) for own in steps] == [16, 16]
    assert len([m for m in read_kind(path, "mark").to_pylist() if m["mark"] == "intervention"]) == 14
