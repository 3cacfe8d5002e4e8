"""The agent with a broker that is there, away, or not asked for at all."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, list_runs
from thermograd.stream.fleet.publishing import publishing
from thermograd.stream.settings import PublishSettings

pytest_plugins = ["servers"]


def thermograd(*words, **options):
    return subprocess.Popen([sys.executable, "-P", "-m", "thermograd.cli", *map(str, words)], **options)


def fleet(url, *words):
    result = CliRunner(env={"THERMOGRAD_PUBLISH": url}).invoke(
        main, ["--runs", "nowhere", "watch", "--fleet", *words]
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_an_agent_publishes_what_it_samples_and_a_broker_that_is_killed_costs_no_sample(
    nats_server, tmp_path
):
    url = nats_server.url.replace("://", "://me:hunter2@")  # it asks for none, and takes any
    environment = os.environ | {"THERMOGRAD_PUBLISH": url}
    agent = thermograd("--runs", tmp_path, "record", "--duration", 4, "--hz", 10, env=environment)
    end_s = time.monotonic() + 20.0
    while not (runs := json.loads(fleet(url, "--once", "--json"))["runs"]):
        assert time.monotonic() < end_s
    folder = CliRunner().invoke(main, ["--runs", str(tmp_path), "watch", "--fleet", "--once", "--json"])
    nats_server.kill()
    nats_server.start()
    assert agent.wait(30) == 0
    (run,) = list_runs(tmp_path)
    assert [row["run"] for row in runs] == [run.run_id]
    assert [(row["run"], row["state"]) for row in json.loads(folder.output)["runs"]] == [(run.run_id, "live")]
    (row,) = json.loads(fleet(url, "--once", "--json"))["runs"]
    assert (row["state"], row["hosts"], row["missing_alerts"]) == ("ended", 1, 0)
    assert len(read_kind(run.path, "sample")) >= 0.9 * 4 * 10
    ours = [
        path for path in tmp_path.rglob("*") if "jetstream" not in path.parts
    ]  # the server still writes there
    files = [path for path in ours if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in files)


def test_a_wrong_address_is_refused_before_anything_is_recorded_and_no_secret_is_told(tmp_path):
    words = ["--runs", str(tmp_path), "record", "--duration", "1", "--publish", "http://me:hunter2@host"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "allowed: nats://" in result.output
    assert "hunter2" not in result.output
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize("words", [("record", "--publish"), ("watch", "--fleet", "--once", "--from")])
def test_a_secret_in_an_address_on_the_command_line_is_refused_and_where_it_belongs_is_said(words, tmp_path):
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), *words, "nats://me:hunter2@127.0.0.1:9"])
    assert result.exit_code == 1
    assert "set THERMOGRAD_PUBLISH_USER and THERMOGRAD_PUBLISH_PASSWORD" in result.output
    assert "hunter2" not in result.output


def test_an_agent_that_publishes_nothing_imports_nothing_for_it(tmp_path):
    code = (
        "import sys; sys.argv = ['thermograd', '--runs', sys.argv[1], 'record', '--duration', '0.2']\n"
        "from thermograd.cli import main; main(standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith(('nats', 'confluent_kafka', 'asyncio'))"
        " or name.startswith('thermograd.stream.fleet')])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_what_a_run_could_not_send_before_its_end_the_next_agent_sends(nats_server, tmp_path):
    nats_server.kill()
    for number in range(2):
        run = create_run(tmp_path, f"run {number}")
        with closing(EventWriter(run.path, run.run_id, new_writer_name("agent"), ("alert",))) as writer:
            settings, stop, troubles = PublishSettings(url=nats_server.url), threading.Event(), []
            with publishing(
                settings, lambda path=run.path: path, writer.writer, stop, troubles.append
            ) as told:
                for step in range(3):
                    alert = {"alert": "nonfinite", "severity": "critical", "step": step, "message": "nan"}
                    told.alert(writer.append("alert", **alert), alert)
                if number:
                    end_s = time.monotonic() + 20.0
                    while len(list((tmp_path / "_unpublished").iterdir())) > 1:
                        assert time.monotonic() < end_s
                        time.sleep(0.02)
        if not number:
            assert "did not reach the fleet" in troubles[-1]
            nats_server.start()
    assert not (tmp_path / "_unpublished").exists()
    alerts = json.loads(fleet(nats_server.url, "--once", "--json"))["alerts"]
    assert sorted((alert["run"], alert["step"]) for alert in alerts) == [
        (run.run_id, step) for run in list_runs(tmp_path) for step in range(3)
    ]


def test_the_fleet_of_a_broker_that_is_down_is_an_error_and_not_an_empty_fleet(tmp_path):
    command = ["--runs", str(tmp_path), "watch", "--fleet", "--once", "--from", "nats://127.0.0.1:9"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert result.output == "Error: nats://127.0.0.1:9/thermograd: nobody answers there\n"
