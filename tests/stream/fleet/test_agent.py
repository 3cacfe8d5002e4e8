"""The agent with a broker that is there, away, or not asked for at all."""

import json
import subprocess
import sys
import time

from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

pytest_plugins = ["servers"]


def thermograd(*words, **options):
    return subprocess.Popen([sys.executable, "-P", "-m", "thermograd.cli", *map(str, words)], **options)


def fleet(url, *words):
    result = CliRunner().invoke(main, ["--runs", "nowhere", "watch", "--fleet", "--from", url, *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_agent_publishes_what_it_samples_and_a_broker_that_is_killed_costs_no_sample(
    nats_server, tmp_path
):
    url = nats_server.url.replace("://", "://me:hunter2@")  # it asks for none, and takes any
    agent = thermograd("--runs", tmp_path, "record", "--duration", 4, "--hz", 10, "--publish", url)
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
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in files)


def test_a_wrong_address_is_refused_before_anything_is_recorded_and_no_secret_is_told(tmp_path):
    words = ["--runs", str(tmp_path), "record", "--duration", "1", "--publish", "http://me:hunter2@host"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "allowed: nats://" in result.output
    assert "hunter2" not in result.output
    assert list_runs(tmp_path) == []


def test_an_agent_that_publishes_nothing_imports_nothing_for_it(tmp_path):
    code = (
        "import sys; sys.argv = ['thermograd', '--runs', sys.argv[1], 'record', '--duration', '0.2']\n"
        "from thermograd.cli import main; main(standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith(('nats', 'confluent_kafka', 'asyncio'))"
        " or name.startswith('thermograd.stream.fleet')])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
