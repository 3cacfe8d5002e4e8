"""Commands over runs on a real S3 server."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from mirrored_runs import ODD_IDS, age, write_run
from tcp_proxy import TcpProxy
from thermograd.cli import main
from thermograd.store.errors import RefusedError
from thermograd.store.places.catalogue import encoded_entry, entry_name
from thermograd.store.places.known import found_at
from thermograd.store.places.mirror import Mirror
from thermograd.store.places.place import place_of
from thermograd.store.runs.at_places.compaction import compact
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.runs.table import RunRow

Copy = Callable[[Path, str], None]
STEPS = "SELECT run_id, count(*) AS n, avg(loss) AS mean FROM steps GROUP BY ALL ORDER BY ALL"


def told(runs: object, *words: str) -> object:
    result = CliRunner().invoke(main, ["--runs", str(runs), *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(runs: object, *words: str) -> str:
    """Return the sentence with which a command ends."""
    result = CliRunner().invoke(main, ["--runs", str(runs), *words])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def write_entry(local: Path, url: str, run_id: str, **changes: object) -> None:
    """Write the row that a shipper would write."""
    entry = RunRow(Run(local / run_id)).to_entry() | changes
    place_of(url).put(entry_name(run_id), encoded_entry(entry))


@pytest.fixture
def url(bucket: str, cache: Path, local: Path, copied: Copy) -> str:
    copied(local, f"{bucket}/team/runs")
    return f"{bucket}/team/runs"


def test_commands_tell_of_a_url_what_they_tell_of_the_folder(url: str, local: Path):
    assert told(url, "runs") == told(local, "runs")
    assert told(url, "query", STEPS) == told(local, "query", STEPS)
    assert told(url, "query", STEPS, "--untrusted") == told(local, "query", STEPS)
    assert told(url, "verify", ODD_IDS[1])["ok"]
    assert told(url, "show", ODD_IDS[0])["steps"] == 5


def test_a_query_of_steps_fetches_no_samples(url: str, cache: Path):
    told(url, "query", STEPS)
    assert list(cache.rglob("sealed/step/*.parquet"))
    assert not list(cache.rglob("sealed/sample/*"))


def test_a_tag_is_seen_by_who_has_another_mirror(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told(url, "tag", ODD_IDS[0], "good")
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "another"))
    assert told(url, "runs", "--tag", "good")[0]["run_id"] == ODD_IDS[0]


def test_folded_runs_answer_as_before_and_need_no_other_file(url: str, local: Path, cache: Path):
    expected = told(local, "runs"), told(local, "query", STEPS)
    compact(url, least_runs=1)
    CliRunner().invoke(main, ["cache", "--clear"])
    assert (told(url, "runs"), told(url, "query", STEPS)) == expected
    assert not list(cache.rglob("sealed/*"))
    assert told(url, "cache")["mirrors"][0]["url"] == url


def test_a_row_that_is_newer_than_the_folded_one_counts(url: str, local: Path):
    compact(url, least_runs=1)
    write_entry(local, url, ODD_IDS[0], tags=["newer"])
    rows = {row["run_id"]: row for row in told(url, "runs")}
    assert rows[ODD_IDS[0]]["tags"] == ["newer"]
    assert told(url, "query", STEPS) == told(local, "query", STEPS)
    compact(url, least_runs=1)
    assert {row["run_id"]: row for row in told(url, "runs")} == rows


def test_a_run_that_is_deleted_or_comes_since_is_seen(url: str, local: Path, tmp_path: Path, copied: Copy):
    compact(url, least_runs=1)
    place = place_of(url)
    for entry in list(place.list(ODD_IDS[0])):
        place.delete(entry.name)
    age(write_run(tmp_path / "more", "later", 2))
    copied(tmp_path / "more", url)
    ids = {*ODD_IDS[1:], "later"}
    assert {row["run_id"] for row in told(url, "runs")} == ids
    assert {row["run_id"] for row in told(url, "query", STEPS)} == ids


def test_of_a_live_run_the_age_of_its_row_is_told(url: str, local: Path):
    write_entry(local, url, ODD_IDS[0], state="live", shipped_until_ns=time.time_ns() - 5 * 3600 * 10**9)
    result = CliRunner().invoke(main, ["--runs", url, "runs"])
    assert "Of 1 live run: as of 5 h ago" in result.stderr
    assert "as of" not in CliRunner().invoke(main, ["--runs", str(local), "runs"]).stderr


def test_a_live_run_is_told_with_how_far_it_is_shipped(url: str, local: Path):
    write_entry(local, url, ODD_IDS[0], state="live", shipped_until_ns=10**18)
    rows = {row["run_id"]: row for row in told(url, "runs")}
    assert "nothing was shipped for" in rows[ODD_IDS[0]]["reason"]
    compact(url, least_runs=1)
    found = found_at(Mirror(place_of(url))).runs
    assert found[ODD_IDS[0]].batch == ""
    assert found[ODD_IDS[1]].batch


def test_a_server_that_is_gone_is_one_sentence_and_the_next_try_goes_on(
    url: str, s3_proxy: TcpProxy, local: Path
):
    told(url, "runs")
    s3_proxy.cut()
    assert "network" in refused(url, "runs")
    assert "network" in refused(url, "query", STEPS)
    s3_proxy.mend()
    assert told(url, "query", STEPS) == told(local, "query", STEPS)


def test_what_cannot_be_read_is_one_sentence(bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch):
    assert "there is no run in" in refused(bucket, "show", "latest")
    assert "no such bucket" in refused("s3://no-bucket-of-anybody/runs", "runs")
    assert "allowed" in refused("ftp://host/runs", "runs")
    assert "topsecret" not in refused("s3://key:topsecret@bucket/runs", "runs")
    assert list_runs(bucket) == []


def test_what_an_analysis_of_all_runs_found_is_seen_by_who_has_another_mirror(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = "SELECT analysis_id, count(*) AS n FROM findings GROUP BY ALL ORDER BY ALL"
    assert told(url, "query", asked) == []
    first = told(url, "analyze", "--all")
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "another"))
    (seen,) = told(url, "query", asked)
    assert (seen["analysis_id"], seen["n"] > 0) == (first["analysis_id"], True)
    second = told(url, "analyze", "--all")
    assert {row["analysis_id"] for row in told(url, "query", asked)} == {
        first["analysis_id"],
        second["analysis_id"],
    }
    names = [entry.name for entry in place_of(url).list("_fleet")]
    assert [name.split("/")[1] for name in names] == [first["analysis_id"], second["analysis_id"]]


def test_findings_that_may_not_be_written_stay_here_and_it_is_said(url: str, monkeypatch: pytest.MonkeyPatch):
    def refuses(self: object, name: str, data: bytes, create_only: bool = False) -> bool:
        raise RefusedError("access denied")

    monkeypatch.setattr("thermograd.store.places.bucket.Bucket.put", refuses)
    found = told(url, "analyze", "--all")
    assert "access denied" in " ".join(found["notes"])
    sql = "SELECT DISTINCT analysis_id FROM findings"
    assert told(url, "query", sql) == [{"analysis_id": found["analysis_id"]}]


JUNK = b"no catalogue"


def harmed(url: str, folder: str, content: bytes = JUNK) -> list[str]:
    """Write junk over every object of a folder of the catalogue."""
    names = [entry.name for entry in place_of(url).list(folder)]
    for name in names:
        place_of(url).put(name, content)
    return names


def test_a_damaged_catalogue_is_said_once_and_compact_writes_the_next(url: str, local: Path, caplog):
    place_of(url).put("_catalogue/00000001.parquet", JUNK)
    before = told(local, "runs"), told(local, "query", STEPS)
    assert (told(url, "runs"), told(url, "query", STEPS)) == before
    assert caplog.text.count(f"{url}/_catalogue/00000001.parquet is damaged") == 1
    assert "the runs are opened instead" in caplog.text
    assert told(url, "compact")["number"] == 2
    again = told(url, "compact")
    assert isinstance(again, dict)
    assert (again["number"], again["is_new"]) == (2, False)
    caplog.clear()
    assert told(url, "runs") == before[0]
    place_of(url).put("_catalogue/00000003.parquet", JUNK)
    assert told(url, "runs") == before[0]
    assert "00000003.parquet is damaged" in caplog.text
    assert "an older catalogue is used instead" in caplog.text
    assert told(url, "compact")["number"] == 4


@pytest.mark.parametrize("folder", ["_catalogue/events/step", "_catalogue/events"])
def test_damaged_folded_events_are_read_from_the_runs(url: str, local: Path, folder: str, caplog):
    compact(url, least_runs=1)
    names = harmed(url, folder)
    assert told(url, "query", STEPS) == told(local, "query", STEPS)
    assert caplog.text.count(f"{names[-1] if folder.endswith('step') else 'step/'}") == 1


@pytest.mark.parametrize(
    "content", [JUNK, b"[]", b'{"run_id": "%s", "tags": 5}', b'{"run_id": "%s", "steps": "x"}']
)
def test_a_damaged_entry_is_the_run_itself(url: str, local: Path, content: bytes, caplog):
    run_id = ODD_IDS[0]
    content = content.replace(b"%s", run_id.encode())
    place_of(url).put(entry_name(run_id), content)
    assert told(url, "runs") == told(local, "runs")
    assert caplog.text.count(f"{url}/{entry_name(run_id)} is damaged") == 1
    assert told(url, "compact")["runs"] == len(ODD_IDS)
    caplog.clear()
    assert told(url, "runs") == told(local, "runs")
    assert "damaged" not in caplog.text


def test_a_damaged_copy_in_the_mirror_is_fetched_again(url: str, local: Path, cache: Path, caplog):
    compact(url, least_runs=1)
    told(url, "query", STEPS)
    for path in cache.rglob("_catalogue/**/*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    assert told(url, "query", STEPS) == told(local, "query", STEPS)
    assert "damaged" not in caplog.text
