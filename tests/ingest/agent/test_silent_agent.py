import threading
import time
from types import SimpleNamespace

from thermograd.ingest.agent import silent_agent
from thermograd.ingest.agent.silent_agent import AgentSilence
from thermograd.store.log.reader import events_in_order
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.describe import describe_run, run_facts_shown
from thermograd.store.telling.episodes import ends_of
from thermograd.stream.pipeline.replay import replay_events


class Looks:
    """Stands in for the event that ends the looking: it lets so many looks pass, a second each."""

    def __init__(self, monkeypatch, states, sleeps=()):
        self.states, self.sleeps, self.now_s = list(states), dict(sleeps), 0.0
        self.at = -1
        monkeypatch.setattr(silent_agent, "is_stopped", lambda pid: self.states[self.at])
        times = {"time_ns": time.time_ns, "monotonic_ns": time.monotonic_ns}
        clock = SimpleNamespace(monotonic=lambda: self.now_s, **times)
        monkeypatch.setattr(silent_agent, "time", clock)

    def wait(self, seconds):
        self.at += 1
        self.now_s += seconds + self.sleeps.get(self.at, 0.0)
        return self.at >= len(self.states)


def looked(tmp_path, monkeypatch, states, **looks):
    run, heard = create_run(tmp_path, "x"), []
    writer = EventWriter(run.path, run.run_id, "node-r0-1-0a1b2c")
    (run.path / "writers" / "node-agent-7-0a1b2c.json").write_text("{}")
    silence = AgentSilence(writer, heard.append)
    silence._pid = 7
    silence._follow(lambda: SimpleNamespace(pid=7), Looks(monkeypatch, states, **looks))
    return run, writer, silence, heard


def test_an_agent_thatis_stopped_is_told_once_and_its_end_when_it_goes_on(tmp_path, monkeypatch):
    run, writer, _, heard = looked(
        tmp_path, monkeypatch, [False, False, True, True, True, True, False, False]
    )
    writer.close()
    replay = replay_events(events_in_order(run.path), {})
    assert replay.check()["identical"] is True
    (alert,) = replay.recorded
    assert (alert["alert"], alert["severity"]) == ("silent.agent", "warning")
    assert alert["message"].startswith("the agent is stopped (SIGSTOP, or a scheduler): no device samples")
    assert "no alerts; kill -CONT 7 lets it go on; it ran last at " in alert["message"]
    assert [each["message"] for each in heard] == [alert["message"]]
    ends = ends_of(event.values for event in events_in_order(run.path, ("mark",)))
    assert list(ends) == [("silent.agent", None, alert["onset_time_ns"])]


def test_a_moment_is_no_silence_and_neither_is_one_after_we_were_stopped_ourselves(tmp_path, monkeypatch):
    states = [False, True, False, True, False, True, True, False]
    _, writer, _, heard = looked(tmp_path, monkeypatch, states, sleeps={5: 60.0, 6: 60.0})
    writer.close()
    assert heard == []


def test_of_one_that_died_the_mark_is_for_the_next_and_of_the_last_there_is_the_alert(tmp_path, monkeypatch):
    run, writer, silence, heard = looked(tmp_path, monkeypatch, [False])
    silence.ended("the agent ended early with exit code -9; it was started again", lasts=False)
    assert heard == []
    silence.ended("the agent ended early with exit code -9; no device samples from here", lasts=True)
    writer.close()
    assert [alert["severity"] for alert in heard] == ["critical"]
    replay = replay_events(events_in_order(run.path), {})
    assert [(alert["alert"], alert["severity"]) for alert in replay.alerts] == [
        ("silent.agent", "warning"),
        ("silent.agent", "critical"),
    ]
    assert [alert["severity"] for alert in replay.recorded] == ["critical"]


def test_it_looks_in_a_thread_of_its_own_and_a_process_that_is_not_there_is_not_stopped(tmp_path):
    stopping = threading.Event()
    stopping.set()
    AgentSilence(None).follow(lambda: SimpleNamespace(pid=2**22 + 1), stopping)
    assert silent_agent.is_stopped(2**22 + 1) is False


def test_show_does_not_say_that_there_are_no_gaps_where_the_alerts_are_made_of_them(tmp_path, monkeypatch):
    run, writer, *_ = looked(tmp_path, monkeypatch, [False, True, True, False])
    text = describe_run(run_facts_shown(Run(run.path)))
    assert "Gaps and errors\n  none but 1 silence: see Alerts\n" in text
    writer.append("mark", mark="gap", text="a hole")
    writer.close()
    assert "Gaps and errors\n  a hole\n" in describe_run(run_facts_shown(Run(run.path)))
