"""The agent's handle, with a shell script in the agent's place: fast, and it dies when told to."""

import os
import signal
import sys
import threading
import time

import pytest
from thermograd.ingest.agent import supervisor
from thermograd.ingest.agent.supervisor import AgentProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in the agent's place")

ALERT = '{"alert": "spike.grad", "step": 7, "value": NaN}'


@pytest.fixture
def agent_is(tmp_path, monkeypatch):
    """Put a shell script in the agent's place; it may use $STARTS, the number of this start."""

    def install(script):
        path = tmp_path / "agent.sh"
        count = tmp_path / "starts"
        path.write_text(
            f'#!/bin/sh\necho x >> {count}\nSTARTS=$(wc -l < {count})\necho "$@" > {count}.args\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return count

    return install


class Heard:
    """Collects what an agent's handle passes on."""

    def __init__(self):
        self.lines, self.alerts, self.gaps = [], [], []
        self.changed = threading.Condition()

    def hears(self, kept):
        def call(value):
            with self.changed:
                kept.append(value)
                self.changed.notify_all()

        return call

    def start(self, path, on_line=True, on_alert=True):
        return AgentProcess(
            path,
            5,
            None,
            self.hears(self.lines) if on_line else None,
            self.hears(self.alerts) if on_alert else None,
            self.hears(self.gaps),
        )

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 60)


def test_an_alert_arrives_as_a_dictionary_and_other_lines_as_text(tmp_path, agent_is):
    agent_is(f"echo warning  hot; echo '{ALERT}'; echo '{{not json'; cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: len(heard.lines) == 2 and heard.alerts)
    agent.stop()
    assert heard.lines == ["warning hot", "{not json"]
    assert (heard.alerts[0]["alert"], heard.alerts[0]["step"]) == ("spike.grad", 7)
    assert heard.gaps == []


def test_without_a_listener_for_alerts_none_are_asked_for(tmp_path, agent_is):
    count = agent_is(f"echo '{ALERT}'; cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path, on_alert=False)
    heard.wait(lambda: heard.lines)
    agent.stop()
    assert heard.lines == [ALERT]
    assert '"alerts_json": false' in (count.parent / "starts.args").read_text()


def test_lines_go_to_stderr_when_only_alerts_are_listened_to(tmp_path, agent_is, capfd):
    agent_is(f"echo a line; echo '{ALERT}'; cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path, on_line=False)
    heard.wait(lambda: heard.alerts)
    agent.stop()
    assert "a line" in capfd.readouterr().err


def test_a_listener_that_raises_is_counted_said_once_and_called_again(tmp_path, agent_is, caplog):
    agent_is(f"echo '{ALERT}'; echo '{ALERT}'; echo end; cat > /dev/null")
    heard = Heard()

    def fail(alert):
        heard.alerts.append(alert)
        raise KeyError("the user's mistake")

    agent = AgentProcess(tmp_path, 5, None, heard.hears(heard.lines), fail)
    heard.wait(lambda: heard.lines)
    agent.stop()
    assert (len(heard.alerts), agent.guard.failures) == (2, 2)
    assert caplog.text.count("the user's mistake") == 1


def test_an_agent_that_dies_is_started_again_once_and_the_gap_is_told(tmp_path, agent_is, caplog):
    agent_is("echo start $STARTS; cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines == ["start 1"])
    first = agent.pid
    os.kill(first, signal.SIGKILL)
    heard.wait(lambda: heard.gaps and heard.lines == ["start 1", "start 2"])
    assert heard.gaps == ["the agent ended early with exit code -9; it was started again"]
    assert agent.pid != first
    agent.stop()
    assert len(heard.gaps) == 1
    assert caplog.text.count("ended early") == 1


def test_the_second_death_is_final(tmp_path, agent_is, caplog):
    count = agent_is("exit 3")
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: len(heard.gaps) == 2)
    agent.stop()
    assert "exit code 3; no device samples from here" in heard.gaps[1]
    assert count.read_text().count("x") == 2
    assert caplog.text.count("no device samples from here") == 1


def test_an_agent_that_cannot_be_started_again_is_a_gap_too(tmp_path, agent_is, monkeypatch):
    agent_is("echo up; cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines)
    agent._command[0] = str(tmp_path / "nothing")
    os.kill(agent.pid, signal.SIGKILL)
    heard.wait(lambda: heard.gaps)
    assert "no device samples from here" in heard.gaps[0]
    agent.stop()


def test_the_training_thread_never_starts_the_second_agent(tmp_path, agent_is, monkeypatch):
    """Starting a process takes milliseconds, a step must not."""
    agent_is("echo $STARTS; cat > /dev/null")
    starters = []
    start = AgentProcess._start
    monkeypatch.setattr(
        AgentProcess, "_start", lambda self: (starters.append(threading.current_thread()), start(self))[1]
    )
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines == ["1"])
    os.kill(agent.pid, signal.SIGKILL)
    heard.wait(lambda: heard.lines == ["1", "2"])
    agent.stop()
    assert starters[0] is threading.main_thread()
    assert starters[1].name == "thermograd-agent"


def test_stopping_waits_for_the_agent_that_is_just_being_started_again(tmp_path, agent_is, monkeypatch):
    agent_is("echo $STARTS; cat > /dev/null")
    start = AgentProcess._start

    def start_and_be_stopped(self):
        process = start(self)
        if self._starts > 1:
            assert self._stopping.wait(60)
        return process

    monkeypatch.setattr(AgentProcess, "_start", start_and_be_stopped)
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines == ["1"])
    first = agent.pid
    os.kill(first, signal.SIGKILL)
    heard.wait(lambda: heard.lines == ["1", "2"])
    agent.stop()
    assert (agent._process.returncode, agent.pid != first) == (0, True)


def test_stopping_ends_the_agent_and_is_no_gap(tmp_path, agent_is):
    agent_is("cat > /dev/null")
    heard = Heard()
    agent = heard.start(tmp_path)
    agent.stop()
    assert agent._process.returncode == 0
    agent._watcher.join(60)
    assert not agent._watcher.is_alive()
    assert heard.gaps == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_an_agent_is_told_to_stop_though_a_forked_worker_keeps_the_pipe_open(tmp_path, agent_is):
    agent_is("read word; exit 5")
    agent = Heard().start(tmp_path)
    worker = os.fork()
    if not worker:
        time.sleep(60)
        os._exit(0)
    agent.stop()
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert agent._process.returncode == 5


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_a_forked_copy_does_not_end_the_agent(tmp_path, agent_is):
    agent_is("cat > /dev/null")
    agent = Heard().start(tmp_path)
    child = os.fork()
    if not child:
        agent.stop()
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.1)
    assert agent._process.returncode is None
    agent.stop()


def test_the_card_of_an_agent_that_ends_goes_to_stderr_and_to_nobody_else(tmp_path, agent_is, capsys):
    starts = agent_is("""echo '{"card": ["thermograd: verdict", "thermograd: spikes"]}'; read word""")
    heard = Heard()
    agent = AgentProcess(tmp_path, 5, None, heard.hears(heard.lines), heard.hears(heard.alerts), card=True)
    agent.stop()
    assert capsys.readouterr().err == "thermograd: verdict\nthermograd: spikes\n"
    assert (heard.lines, heard.alerts) == ([], [])
    assert '"card": true' in (starts.parent / "starts.args").read_text()


def test_what_the_agent_has_shown_itself_is_passed_on_and_not_shown_again(tmp_path, agent_is, capfd):
    agent_is("""echo '{"shown": "critical  silent.rank"}'; cat > /dev/null""")
    heard = Heard()
    agent = heard.start(tmp_path)
    agent.stop()
    assert (heard.lines, heard.alerts) == (["critical  silent.rank"], [])
    agent = heard.start(tmp_path, on_line=False)
    agent.stop()
    assert (capfd.readouterr().err, heard.alerts) == ("", [])


def test_an_agent_that_is_stopped_is_let_go_on_at_the_end(tmp_path, agent_is, caplog):
    agent_is("echo up; read word; echo told $word")
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines)
    os.kill(agent.pid, signal.SIGSTOP)
    agent.stop()
    assert heard.lines == ["up", "told stop"]
    assert "busy" not in caplog.text


def test_of_one_that_is_held_it_is_said_and_it_is_not_waited_for(tmp_path, agent_is, caplog, monkeypatch):
    agent_is("echo up; read word; read never < /dev/zero")
    monkeypatch.setattr(supervisor, "is_stopped", lambda pid: True)
    monkeypatch.setattr(supervisor, "_HELD_S", 0.01)
    heard = Heard()
    agent = heard.start(tmp_path)
    heard.wait(lambda: heard.lines)
    pid = agent.pid
    agent.stop()
    assert f"kill -CONT {pid} lets it end the run" in caplog.text
    os.kill(pid, signal.SIGKILL)
    agent._watcher.join(60)
    agent._reader.join(60)
    assert not agent._watcher.is_alive()
