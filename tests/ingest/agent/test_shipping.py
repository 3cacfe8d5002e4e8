"""The agent ships a run to a URL while it trains; whatever happens to network and agent, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import thermograd
from click.testing import CliRunner
from shipped_runs import assert_there
from thermograd.cli import main
from thermograd.ingest.callback import TrainerRun
from thermograd.store.log.reader import read_kind
from thermograd.store.places.place import place_of
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.shipping.progress import progress_of
from thermograd.store.shipping.spool import spool_for


@pytest.fixture(autouse=True)
def spool(tmp_path, monkeypatch):
    """Keep the spool of these tests apart, and ship often."""
    monkeypatch.setenv("THERMOGRAD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("THERMOGRAD_SHIP_EVERY_S", "1")
    monkeypatch.setenv("THERMOGRAD_SHIP_PATIENCE_S", "1")


def wait_for(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


def steps_at(place, run_id, tmp_path):
    """Return how many steps the place gives to who reads it."""
    below = f"{run_id}/sealed/step"
    names = [entry.name.rpartition("-")[2] for entry in place.list(below)]
    return max((int(name.partition(".")[0]) + 1 for name in names), default=0)


def test_network_and_agent_die_in_mid_training_and_every_event_is_at_the_url_once(tmp_path, s3_proxy, bucket):
    url = f"{bucket}/runs"
    lines = []
    run = thermograd.start_run("r", url, on_alert_line=lines.append)
    assert run.agent is not None
    place = place_of(url)
    for _ in range(30):
        run.step(loss=1.0)
    wait_for(lambda: steps_at(place, run.run_id, tmp_path) == 30, "the first part")
    s3_proxy.cut()
    for _ in range(30):
        run.step(loss=1.0)
    wait_for(lambda: any("cannot ship" in line for line in lines), "word of the lost network")
    first = run.agent.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: run.agent.pid != first, "the second agent")
    path = run.path
    run.close()
    assert len([line for line in lines if "cannot ship" in line]) <= 2  # once an agent
    assert progress_of(path).is_complete is False
    in_vain = CliRunner().invoke(main, ["ship", run.run_id])
    assert in_vain.exit_code == 1 or "another process ships it" in in_vain.output
    s3_proxy.mend()

    def is_shipped():
        CliRunner().invoke(main, ["ship", run.run_id])
        return progress_of(path).is_complete

    wait_for(is_shipped, "the shipping")
    assert len(read_kind(path, "step")) == 60
    assert_there(Run(path), place, tmp_path / "mirror")


def test_what_an_agent_leaves_a_process_of_its_own_ships_and_no_exit_waits_for_it(
    tmp_path, bucket, monkeypatch
):
    monkeypatch.setenv("THERMOGRAD_SHIP_PATIENCE_S", "60")
    script = tmp_path / "train.py"
    script.write_text(
        "import thermograd\n"
        "with thermograd.start_run('r') as run:\n"
        "    for _ in range(50):\n        run.step(loss=1.0)\n"
    )
    environment = os.environ | {"THERMOGRAD_RUNS": f"{bucket}/runs"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True
    )
    assert f"recording to {bucket}/runs/" in done.stderr
    (run,) = list_runs(spool_for(f"{bucket}/runs"))
    wait_for(lambda: progress_of(run.path).is_complete, "what is left to be shipped")
    assert_there(run, place_of(f"{bucket}/runs"), tmp_path / "mirror")
    entry = json.loads(place_of(f"{bucket}/runs").get(f"_catalogue/entries/{run.run_id}.json"))
    assert (entry["state"], entry["steps"]) == ("finished", 50)


def test_no_secret_is_in_any_file_that_a_run_writes_or_ships_nor_in_our_words(tmp_path, bucket, monkeypatch):
    """Planted: the keys of the environment, in addresses, facts, configuration, words, marks, exceptions."""
    planted = [f"Pl4ntedSecret{n}xYz" for n in range(12)]
    secrets = iter(planted)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("THERMOGRAD_SHIP_PATIENCE_S", "60")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", next(secrets))
    monkeypatch.setenv("AWS_SESSION_TOKEN", next(secrets))
    monkeypatch.setenv("WANDB_API_KEY", next(secrets))
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, thermograd\n"
        f"facts = {{'hub_token': '{next(secrets)}', 'db': 'nats://me:{next(secrets)}@h', 'lr': 1}}\n"
        f"config = {{'sasl.password': '{next(secrets)}', 'u': 'az://b/x?sig={next(secrets)}'}}\n"
        f"run = thermograd.start_run('r', '{bucket.replace('://', f'://key:{next(secrets)}@')}/runs',\n"
        "    facts=facts, config=config)\n"
        f"run.mark('note', text='see https://hooks.slack.com/services/T/B/{next(secrets)}',"
        f" api_key='{next(secrets)}')\n"
        "for _ in range(20):\n    run.step(loss=1.0)\n"
        "import subprocess\n"
        "ps = subprocess.run(['ps', 'axww', '-o', 'args'], capture_output=True, text=True).stdout\n"
        f"raise ValueError('no access to s3://me:{next(secrets)}@b', len(ps), \n"
        "    [l for l in ps.split('\\n') if 'commands.agent' in l or 'ship-rest' in l])\n"
    )
    command = [sys.executable, str(script), "--token", next(secrets)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ValueError" in done.stderr
    (run,) = list_runs(spool_for(f"{bucket}/runs"))
    wait_for(lambda: progress_of(run.path).is_complete, "the shipping")
    assert endpoint
    place = place_of(bucket)
    shipped = {entry.name: place.get(entry.name) for entry in place.list()}
    assert any(name.startswith("runs/_catalogue/") for name in shipped)
    kept = {str(path): path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file()}
    kinds = [repr(read_kind(run.path, kind).to_pylist()).encode() for kind in ("mark", "alert", "step")]
    ours = [line for line in done.stderr.split("\n") if line.startswith("thermograd")]
    for secret in planted:
        for content in (*shipped.values(), *kept.values(), *kinds, "\n".join(ours).encode()):
            assert secret.encode() not in content
        assert not [name for name in (*shipped, *kept) if secret in name]
    agent_lines = done.stderr.rpartition("[")[2]
    assert "commands.agent" in agent_lines
    assert not any(secret in agent_lines for secret in planted)


def test_an_agent_of_a_run_that_stays_here_loads_nothing_of_it(tmp_path):
    code = (
        "import sys, threading\nfrom pathlib import Path\n"
        "from thermograd.ingest.agent.agent import run_agent\n"
        "from thermograd.store.runs.catalogue import create_run\n"
        f"run = create_run(Path({str(tmp_path)!r}), 'r')\n"
        "run_agent(run.path, 5.0, 0, None, None, 0.5)\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [
        name for name in done.stdout.split() if name.startswith(("obstore", "thermograd.store.shipping."))
    ]
    assert loaded in ([], ["thermograd.store.shipping.handover"])


def test_a_framework_s_callback_means_the_url_that_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    training = TrainerRun("t", "s3://no-such-bucket-here/runs")
    training.open(None, dict, deferred_end=False)
    training.close()
    assert len(list_runs(spool_for("s3://no-such-bucket-here/runs"))) == 1
    assert not [*tmp_path.glob("s3*")]
