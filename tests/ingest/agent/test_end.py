from types import SimpleNamespace

from thermograd.ingest.agent import agent
from thermograd.store.locks import ProcessLock
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run


def test_a_run_that_is_just_being_sealed_is_sealed_to_its_end_all_the_same(tmp_path, monkeypatch):
    run = create_run(tmp_path, "busy")
    log = EventWriter(run.path, run.run_id, "w")
    log.append("step", step=1)
    log.close()
    other, waits = ProcessLock(run.path, "seal"), []
    assert other.acquire()

    def let_other_go(_):
        waits.append(other.release())

    monkeypatch.setattr(agent, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=let_other_go))
    agent._seal(SimpleNamespace(path=run.path))
    assert len(waits) == 1
    assert len(list(run.path.glob("sealed/step/*.parquet"))) == 1
