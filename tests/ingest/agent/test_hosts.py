import json

import pytest
from thermograd.ingest.agent import hosts as hosts_module
from thermograd.ingest.agent.hosts import HostWatch
from thermograd.store.files import read_json, write_json, writer_file


class Job:
    """Writers on three hosts, ours `a`; every agent's watch is told time in steps of a second."""

    def __init__(self, path, monkeypatch):
        self.path, self.beats, self.dead, self.now_s = path, {}, set(), 0.0
        monkeypatch.setattr(hosts_module, "sign_of_life_of", lambda path, name: self.beats.get(name))
        monkeypatch.setattr(hosts_module.socket, "gethostname", lambda: self.here)
        (path / "writers").mkdir()
        self.names = {}
        for host in "abc":
            for role, name in (
                ("agent", f"{host}-agent-1-0a1b2c"),
                ("training", f"{host}-r{ord(host) - 97}-2-0a1b2c"),
            ):
                write_json(writer_file(path, name), {"writer": name, "role": role, "host": host})
                self.names.setdefault(host, []).append(name)
        self.watches = {host: HostWatch(lambda: path, self.names[host][0]) for host in "abc"}

    def run(self, seconds, **slept):
        """Let time go on; return what each host's agent tells: seconds, host, detail."""
        told = []
        for _ in range(seconds):
            self.now_s += 1.0
            if self.now_s % 10 == 0:
                living = [
                    name for host, names in self.names.items() if host not in self.dead for name in names
                ]
                self.beats |= {name: ("token", self.now_s) for name in living if name not in self.dead}
            for host, watch in self.watches.items():
                self.here = host
                if host not in self.dead:
                    marks = watch.look(now_s=self.now_s, **slept)
                    told += [
                        (self.now_s, host, mark | {"detail": json.loads(mark["detail"])}) for mark in marks
                    ]
        return told

    def close(self, name):
        self.beats.pop(name, None)
        self.dead.add(name)
        file = writer_file(self.path, name)
        write_json(file, read_json(file) | {"closed_time_ns": 1})


@pytest.fixture
def job(tmp_path, monkeypatch):
    return Job(tmp_path, monkeypatch)


def test_a_host_without_a_sign_of_life_is_told_by_the_first_of_the_others_within_three_beats(job):
    assert job.run(100) == []
    job.dead.add("c")
    ((at_s, host, mark),) = job.run(100)
    assert (host, mark["detail"]["host"], mark["detail"]["ranks"]) == ("a", "c", [2])
    assert at_s - 100 <= 30
    assert (mark["detail"]["alert"], mark["detail"]["severity"]) == ("silent.agent", "critical")
    assert mark["text"].startswith("host c: its agent and rank 2 gave no sign of life for ")
    job.dead.clear()
    ((_, _, ended),) = job.run(60)
    assert (ended["mark"], ended["detail"]["onset_time_ns"]) == (
        "alert_ended",
        mark["detail"]["onset_time_ns"],
    )


def test_of_the_first_agent_the_second_tells(job):
    job.run(50)
    job.dead.add("a")
    assert [(host, mark["detail"]["host"]) for _, host, mark in job.run(100)] == [("b", "a")]


def test_a_host_that_has_ended_or_of_which_one_process_lives_is_not_silent(job):
    job.run(50)
    for name in job.names["c"]:
        job.close(name)
    job.dead.add(job.names["b"][0])
    assert job.run(100) == []
    job.close(job.names["b"][0])  # its rank was killed, which it has told
    job.dead.add(job.names["b"][1])
    assert job.run(100) == []


def test_time_in_which_we_slept_ourselves_does_not_count(job):
    job.run(50)
    job.dead.add("c")
    assert job.run(40, slept_s=1.0) == []
    assert len(job.run(40)) == 1
