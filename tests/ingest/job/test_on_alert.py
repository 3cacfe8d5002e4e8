"""What an alert sets off: a callable, or a checkpoint that all processes write at the same step."""

import pytest
from thermograd.ingest.job.on_alert import AlertTasks, CheckpointRequest

ALERT = {"alert": "spike.grad", "severity": "warning"}


def test_everyone_hears_an_alert_and_one_that_raises_is_counted_and_said_once(caplog):
    heard, tasks = [], AlertTasks()

    def broken(alert):
        raise RuntimeError("the user's own")

    tasks.add(broken)
    tasks.add(heard.append)
    for _ in range(3):
        tasks(ALERT)
    assert heard == [ALERT] * 3
    assert tasks.guard.failures == 3
    assert caplog.text.count("the user's own") == 1


def test_one_process_saves_at_the_end_of_the_next_step_and_not_in_every_step_of_a_storm():
    request = CheckpointRequest()
    assert request.due(1) is None
    request.hear(ALERT)
    assert request.due(2) == "spike.grad"
    saved = []
    for step in range(3, 250):
        request.hear(ALERT)
        if request.due(step):
            saved.append(step)
    assert saved == [102, 202]


def test_an_alert_that_only_informs_asks_for_nothing():
    request = CheckpointRequest()
    request.hear({"alert": "power_limited", "severity": "info"})
    assert request.due(1) is None


def test_all_processes_save_at_the_same_step_whoever_heard_the_alert():
    torch = pytest.importorskip("torch")
    store = torch.distributed.HashStore()
    ranks = [CheckpointRequest(store) for _ in range(3)]
    saved = [[] for _ in ranks]
    for step in range(1, 300):
        for number in range(3):  # in DDP no rank is further than one step ahead of another
            rank = (number + step) % 3
            if (rank, step) in ((1, 10), (2, 10), (0, 150)):
                ranks[rank].hear(ALERT)
            if ranks[rank].due(step):
                saved[rank].append(step)
    assert saved == [[13, 153]] * 3


def test_without_agreement_nobody_saves(caplog):
    class Gone:
        def check(self, keys):
            raise RuntimeError("the store is gone")

    request = CheckpointRequest(Gone())
    assert [request.due(step) for step in range(3)] == [None] * 3
    assert caplog.text.count("cannot agree") == 1
