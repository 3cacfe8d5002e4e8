"""`thermograd ship`: one run or all, to a URL, repeatable; and commands that write for a URL."""

import json
import sys
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from shipped_runs import assert_there, log_steps, new_run
from thermograd.cli import main
from thermograd.store.errors import PlaceError, RefusedError
from thermograd.store.places.place import place_of
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.shipping.spool import local_runs, spool_for


@pytest.fixture(autouse=True)
def spool(tmp_path, monkeypatch):
    """Keep the spool of these tests apart."""
    monkeypatch.setenv("THERMOGRAD_SPOOL", str(tmp_path / "spool"))


def thermograd(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="thermograd")


def finished(runs, steps=20):
    run, writer = new_run(runs)
    log_steps(writer, 1, steps)
    writer.close()
    return run


def test_a_finished_run_is_shipped_once_and_the_second_time_there_is_nothing_to_ship(tmp_path, bucket):
    run = finished(tmp_path / "runs")
    first = thermograd("--runs", tmp_path / "runs", "ship", "latest", f"{bucket}/runs")
    assert first.exit_code == 0, first.output
    assert "1 run: 2 files" in first.stdout
    again = thermograd("--runs", tmp_path / "runs", "ship", run.run_id, f"{bucket}/runs")
    assert again.exit_code == 0
    assert again.stdout.endswith("nothing to ship\n")
    assert_there(run, place_of(f"{bucket}/runs"), tmp_path / "mirror")


def test_all_runs_here_and_in_the_spool_are_shipped(tmp_path):
    url = f"file://{tmp_path}/place"
    runs = [finished(tmp_path / "runs"), finished(tmp_path / "runs"), finished(spool_for(url))]
    result = thermograd("--runs", tmp_path / "runs", "ship", "--all", url, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {item["run_id"] for item in told} == {run.run_id for run in runs}
    assert all(item["is_complete"] for item in told)
    assert {path.name for path in (tmp_path / "place").iterdir()} == {"_catalogue", *(r.run_id for r in runs)}


def test_a_run_of_the_spool_needs_no_url(tmp_path):
    url = f"file://{tmp_path}/place"
    run = finished(spool_for(url))
    result = thermograd("ship", run.run_id)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "place" / run.run_id / "run.json").is_file()
    assert thermograd("ship", "--all").stdout.endswith("nothing to ship\n")


def test_a_run_whose_place_refuses_can_go_to_another_one_and_is_then_done(tmp_path, bucket):
    run = finished(spool_for("s3://no-such-bucket-here/x"))
    refused = thermograd("ship", "--all")
    assert refused.exit_code == 1
    assert refused.output.count("there is no such bucket") == 1
    assert f"thermograd ship {run.run_id} URL" in refused.output
    assert str(run.path) in refused.output
    moved = thermograd("ship", run.run_id, f"file://{tmp_path}/place")
    assert moved.exit_code == 0, moved.output
    again = thermograd("ship", "--all")
    assert (again.exit_code, again.output) == (0, "nothing to ship\n")


def test_what_fails_now_is_said_once_and_what_is_there_is_counted(tmp_path, monkeypatch):
    url = f"file://{tmp_path}/place"
    for _ in range(3):
        finished(tmp_path / "runs")
    words = ("--runs", tmp_path / "runs", "ship", "--all", url)
    assert "3 runs: 6 files, " in thermograd(*words).output
    assert thermograd(*words).output == "3 runs: nothing to ship\n"

    def fails(self, name, data, create_only=False):
        raise PlaceError("the network is down")

    finished(tmp_path / "runs")
    monkeypatch.setattr("thermograd.store.places.folder.Folder.put", fails)
    failed = thermograd(*words)
    assert failed.exit_code == 1
    assert failed.output.count("the network is down") == 4  # once a run
    assert "goes on trying" not in failed.output


def test_a_run_that_lives_is_shipped_so_far(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    result = thermograd("--runs", tmp_path / "runs", "ship", run.run_id, f"file://{tmp_path}/place")
    writer.close()
    assert result.exit_code == 0, result.output
    assert "it is live" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latest"], "goes to no URL yet"),
        (["nothing", "file:///elsewhere"], "no run 'nothing'"),
        (["latest", "s4://bucket/x"], "unknown scheme"),
        (["latest", "s3://key:s3cr3t@bucket/x"], "no user, password, key"),
    ],
)
def test_what_cannot_be_shipped_is_one_clear_sentence(tmp_path, words, said):
    finished(tmp_path / "runs")
    result = thermograd("--runs", tmp_path / "runs", "ship", *words)
    assert result.exit_code == 1
    assert said in result.output
    assert "s3cr3t" not in result.output


def test_a_bucket_that_is_not_there_is_one_clear_sentence_and_exit_code_1(tmp_path, bucket):
    finished(tmp_path / "runs")
    result = thermograd("--runs", tmp_path / "runs", "ship", "latest", "s3://no-such-bucket-here/x")
    assert result.exit_code == 1
    assert "there is no such bucket" in result.output
    assert "1 run of 1 not shipped" in result.output


def test_a_run_that_a_command_writes_goes_to_a_url(tmp_path, monkeypatch, bucket):
    monkeypatch.chdir(tmp_path)
    url = f"{bucket}/runs"
    result = thermograd("--runs", url, "simulate", "--scenario", "uncoupled", "--minutes", "1")
    assert result.exit_code == 0, result.output
    (run,) = list_runs(spool_for(url))
    assert f"{run.run_id} is at {url}" in result.output
    assert_there(run, place_of(url), tmp_path / "mirror")
    entry = json.loads(place_of(url).get(f"_catalogue/entries/{run.run_id}.json"))
    assert (entry["state"], entry["steps"]) == ("simulated", Run(run.path).counts()["step"])
    assert not (tmp_path / "s3:").exists()


def test_what_goes_to_a_folder_by_its_url_is_written_there_at_once(tmp_path):
    url = f"file://{tmp_path}/folder"
    result = thermograd("--runs", url, "simulate", "--scenario", "uncoupled", "--minutes", "1")
    assert result.exit_code == 0, result.output
    assert len(list_runs(local_runs(url))) == 1
    assert local_runs(url) == tmp_path / "folder"


COMMANDS = {
    "simulate": ("simulate", "--scenario", "uncoupled", "--minutes", "1"),
    "import": ("import", "{here}/log.csv"),
    "record": ("record", "--duration", "0.2"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("wrong", ["bucket", "keys", "endpoint", "package"])
def test_what_a_place_refuses_for_good_is_said_before_anything_is_written(
    tmp_path, monkeypatch, bucket, words, wrong
):
    url, said = f"{bucket}/runs", "no credentials that it accepts"
    if wrong == "bucket":
        url, said = "s3://no-such-bucket-here/runs", "there is no such bucket"
    elif wrong == "keys":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9/169.254.")
    elif wrong == "endpoint":
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        said = "its endpoint is no https:// address"
    else:
        monkeypatch.setitem(sys.modules, "obstore.store", None)
        said = "needs the package obstore"
    (tmp_path / "log.csv").write_text("step,loss\n1,2\n")
    result = thermograd("--runs", url, *(word.format(here=tmp_path) for word in words))
    assert result.exit_code == 1
    assert said in result.output
    assert result.output.count("\n") == 1
    assert not list_runs(spool_for(url))


def test_what_is_refused_only_while_it_is_shipped_is_kept_and_said_at_once(tmp_path, monkeypatch, bucket):
    def refuses(self, name, data, create_only=False):
        raise RefusedError(f"{self.url}: access denied")

    monkeypatch.setattr("thermograd.store.places.bucket.Bucket.put", refuses)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("it waits to try again"))
    monkeypatch.setattr("thermograd.store.shipping.rounds.time", clock)
    url = f"{bucket}/runs"
    result = thermograd("--runs", url, *COMMANDS["simulate"])
    (run,) = list_runs(spool_for(url))
    assert result.exit_code == 1
    assert f"access denied; {run.run_id} is kept here; ship it later: thermograd ship" in result.output
