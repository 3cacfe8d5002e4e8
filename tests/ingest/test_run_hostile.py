"""What may happen to a run inside a training process: forks, two at once, use after the end, alerts."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import thermograd
from thermograd.ingest import run as run_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import list_runs

torch = pytest.importorskip("torch")

from thermograd.ingest.capture import hooks  # noqa: E402


def steps_of(run):
    return read_kind(run.path, "step").to_pylist()


def train(optimizer, weight, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        (weight * 3).sum().backward()
        optimizer.step()


@pytest.fixture
def model():
    weight = torch.nn.Parameter(torch.ones(4))
    return weight, torch.optim.SGD([weight], lr=0.1)


class Agent:
    """Stands in for the agent's process."""

    made = None

    def __init__(self, run_dir, hz, simulate, on_line, on_alert=None, on_gap=None, card=False, silence=None):
        Agent.made = self
        self.on_alert, self.on_gap, self.stopped = on_alert, on_gap, 0

    def stop(self):
        self.stopped += 1


def test_alerts_of_the_agent_reach_the_callable_and_its_fault_stays_with_us(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_module, "AgentProcess", Agent)
    heard = []

    def on_alert(alert):
        heard.append(alert["alert"])
        raise RuntimeError("the user's own")

    with thermograd.start_run(runs=tmp_path, on_alert=on_alert) as run:
        for name in ("spike.grad", "collapse.thermal"):
            Agent.made.on_alert({"alert": name, "severity": "warning"})
        Agent.made.on_gap("the agent has died")
    assert heard == ["spike.grad", "collapse.thermal"]
    assert caplog.text.count("the user's own") == 1
    assert Agent.made.stopped == 1
    assert [m["text"] for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "gap"] == [
        "the agent has died"
    ]


@pytest.mark.parametrize("local_rank", ["0", "1"])
def test_one_process_a_node_starts_the_agent(tmp_path, monkeypatch, local_rank):
    monkeypatch.setattr(run_module, "AgentProcess", Agent)
    monkeypatch.setenv("THERMOGRAD_RUN_ID", f"job-{local_rank}")
    for name, value in (("RANK", "4"), ("LOCAL_RANK", local_rank), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    Agent.made = None
    with thermograd.start_run(runs=tmp_path) as run:
        assert (Agent.made is not None) == (local_rank == "0")
        assert not (run.path / "run.json").exists()  # rank 0 describes the run
        run.step(loss=1.0)
    assert steps_of(run)[0]["rank"] == 4
    [listed] = list_runs(tmp_path)  # it never came: then the run is described at the end
    assert listed.facts["job"] == {
        "rank": 4,
        "local_rank": int(local_rank),
        "world_size": 8,
        "node_rank": None,
    }


def test_of_two_runs_the_later_one_logs_the_steps(tmp_path, model):
    weight, optimizer = model
    with (
        thermograd.start_run("a", runs=tmp_path, agent=False) as first,
        thermograd.start_run("b", runs=tmp_path, agent=False) as second,
    ):
        for run in (first, second):
            run.watch(optimizer)
        train(optimizer, weight, 2)
    assert first.run_id != second.run_id
    assert steps_of(first) == []
    assert [(s["step"], s["grad_norm"]) for s in steps_of(second)] == [(1, 6.0), (2, 6.0)]


def test_after_its_end_a_run_takes_nothing_and_raises_nothing(tmp_path, model):
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(optimizer)
        train(optimizer, weight)
    train(optimizer, weight)
    run.step(loss=1.0)
    run.watch(optimizer)
    train(optimizer, weight)
    run.mark("note")
    run.close()
    assert len(steps_of(run)) == 1
    assert not run.is_open
    with thermograd.start_run(runs=tmp_path, agent=False) as late:
        pass
    seen_by = list(hooks._active)
    late.watch(optimizer)
    assert hooks._active == seen_by


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_records_nothing_and_leaves_the_agent_alone(tmp_path, model, monkeypatch):
    monkeypatch.setattr(run_module, "AgentProcess", Agent)
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path) as run:
        run.watch(optimizer)
        train(optimizer, weight)
        child = os.fork()
        if not child:
            code = 1
            try:
                train(optimizer, weight)
                run.step(loss=2.0)
                run.mark("note", text="of the child")
                run.close()
                code = 10 * Agent.made.stopped
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        train(optimizer, weight)
    assert [s["step"] for s in steps_of(run)] == [1, 2]
    assert "of the child" not in [m["text"] for m in read_kind(run.path, "mark").to_pylist()]


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((4,), float(index))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
@pytest.mark.filterwarnings("ignore")
def test_workers_that_load_data_do_not_log(tmp_path, model):
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(optimizer)
        loader = torch.utils.data.DataLoader(
            Numbers(), batch_size=2, num_workers=2, multiprocessing_context="fork"
        )
        for batch in loader:
            optimizer.zero_grad()
            (weight * batch).sum().backward()
            optimizer.step()
    assert [s["step"] for s in steps_of(run)] == [1, 2, 3, 4]
    assert len([m for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "run_ended"]) == 1


def test_several_optimizers_are_noted_once(tmp_path, model):
    weight, optimizer = model
    other = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.tap()
        for _ in range(3):
            train(optimizer, weight)
            other.step()
    notes = [m["text"] for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "note"]
    assert notes == ["several optimizers step in turn; run.watch(optimizer) picks one"]


def test_readings_that_failed_are_counted_in_a_mark(tmp_path, model, monkeypatch):
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(optimizer)
        monkeypatch.setattr("thermograd.ingest.capture.optimizers.gradient_norm", lambda parameters: 1 / 0)
        train(optimizer, weight, 3)
    assert [m["text"] for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "gap"] == [
        "3 readings of training steps failed"
    ]


def test_recording_that_is_off_touches_nothing(tmp_path, model, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path / "runs") as run:
        run.watch(optimizer)
        train(optimizer, weight)
        run.step(loss=1.0)
    assert run.path is None
    assert not (tmp_path / "runs").exists()


def test_a_run_id_that_cannot_be_a_file_name_stops_the_recording_not_the_training(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("THERMOGRAD_RUN_ID", "../elsewhere")
    with thermograd.start_run(runs=tmp_path / "runs", agent=False) as run:
        run.step(loss=1.0)
    assert run.path is None
    assert "records nothing" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


def test_where_a_run_starts_is_in_its_first_mark(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        pass
    first = read_kind(run.path, "mark").to_pylist()[0]
    detail = json.loads(first["detail"])
    assert (first["mark"], detail["pid"], detail["rank"]) == ("run_started", os.getpid(), 0)


RANK = """
    import os, time, thermograd
    run = thermograd.start_run(runs={runs!r}, agent=False)
    for i in range(1_000_000):
        run.step(loss=1.0)
        os.write(1, b"%d\\n" % (i + 1))
        time.sleep(0.005)
        if os.path.exists({stop!r}):
            break
    run.close()
"""


def test_a_rank_that_is_killed_loses_nothing_and_does_not_touch_the_others(tmp_path):
    script = textwrap.dedent(RANK.format(runs=str(tmp_path / "runs"), stop=str(tmp_path / "stop")))
    ranks = []
    for rank in range(2):
        place = {"THERMOGRAD_RUN_ID": "job", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        command = [sys.executable, "-c", script]
        ranks.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | place))
    for rank in ranks:
        assert [int(rank.stdout.readline()) for _ in range(20)][-1] == 20
    ranks[1].kill()
    acknowledged = max([20, *(int(line) for line in ranks[1].stdout.read().split())])
    assert [int(ranks[0].stdout.readline()) for _ in range(20)][-1] == 40
    [run] = list_runs(tmp_path / "runs")
    assert run.state() == "live"
    (tmp_path / "stop").touch()
    ranks[0].stdout.read()
    assert ranks[0].wait(60) == 0
    ranks[1].wait()
    for rank in ranks:
        rank.stdout.close()
    steps = [[s["step"] for s in steps_of(run) if s["rank"] == rank] for rank in range(2)]
    assert all(found == list(range(1, len(found) + 1)) for found in steps)
    assert len(steps[1]) >= acknowledged
    assert run.state() == "crashed"
    assert verify_run(run.path)["ok"]


def gaps(path):
    return [m["text"] for m in read_kind(path, "mark").to_pylist() if m["mark"] == "gap"]


@pytest.mark.parametrize(
    "what",
    [
        (),
        (None,),
        ("adam",),
        (3, 4),
        ([1],),
        (object(),),
        (torch.nn.Linear(1, 1),),
        (type,),
        (float("nan"), None),
    ],
)
def test_what_cannot_be_watched_costs_nothing_but_itself(tmp_path, model, what, caplog):
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(*what)
        run.watch(*what, model=object())
        train(optimizer, weight, 2)
        run.watch(optimizer, *what)
        train(optimizer, weight, 2)
    assert read_kind(run.path, "step").num_rows in (2, 4)
    assert caplog.text.count("no optimizer") <= 1


def test_optimizers_that_are_watched_together_with_a_model_are_one_step(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizers = [torch.optim.SGD([p], lr=0.1) for p in model.parameters()]
    for watched, options in (((*optimizers, model), {}), (tuple(optimizers), {"model": model})):
        with thermograd.start_run(runs=tmp_path, agent=False, layer_norms=True) as run:
            run.watch(*watched, **options)
            for _ in range(100):
                model.zero_grad()
                model(torch.ones(1, 2)).sum().backward()
                for optimizer in optimizers:
                    optimizer.step()
        assert read_kind(run.path, "step").num_rows == 100
        details = [m["detail"] for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "note"]
        assert any('"layer": "weight"' in (detail or "") for detail in details)
        assert any('"optimizer": "SGD"' in (detail or "") for detail in details)


def test_what_was_watched_and_never_stepped_is_said_once_at_the_end(tmp_path, model, caplog):
    weight, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(optimizer)
        run.watch(torch.optim.Adam([weight]))
        train(optimizer, weight, 2)
        assert gaps(run.path) == []
    run.close()
    text = "Adam was watched and has not stepped: none of its steps is recorded"
    assert gaps(run.path) == [text]
    assert caplog.text.count(text) == 1


def test_a_script_that_logs_by_hand_need_not_step(tmp_path, model):
    _, optimizer = model
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(optimizer)
        run.step(loss=1.0)
    assert read_kind(run.path, "step").num_rows == 1
