"""Where runs of a URL are written, what is kept there, and what may be removed."""

import os
import sys
from pathlib import Path

import pytest
from shipped_runs import log_steps, new_run
from thermograd.store.files import sealed_segments, write_json
from thermograd.store.places.place import place_of
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.shipping.cleaning import clean, is_proven
from thermograd.store.shipping.progress import STATE
from thermograd.store.shipping.rounds import ship_to_the_end
from thermograd.store.shipping.spool import canonical, local_runs, spool_for, spools, target_of, trouble_with


@pytest.fixture(autouse=True)
def spool(tmp_path, monkeypatch):
    """Keep the spool of these tests apart."""
    monkeypatch.setenv("THERMOGRAD_SPOOL", str(tmp_path / "spool"))
    return tmp_path / "spool"


def test_an_address_without_slashes_is_told_to_a_training():
    told = trouble_with("s3:team/x")
    assert told is not None
    assert "write s3://team/x" in told
    assert "taken for a folder" in told
    assert trouble_with("runs") is trouble_with("s3://team/x") is None


def test_a_url_has_one_folder_whatever_pathlib_made_of_it_and_no_credentials_in_it(spool):
    folder = spool_for("s3://bucket/runs")
    for text in (
        "s3://bucket/runs/",
        str(Path("s3://bucket/runs")),
        "s3://key:s3cr3t/x@bucket/runs?sig=s3cr3t",
    ):
        assert spool_for(text) == folder
    assert target_of(folder / "run") == "s3://bucket/runs"
    assert spool_for("s3://bucket/other") != folder
    assert not [path for path in spool.rglob("*") if "s3cr3t" in str(path)]
    assert "s3cr3t" not in (folder / "target.json").read_text()
    assert [url for url, _ in spools()] == ["s3://bucket/other", "s3://bucket/runs"]
    assert [path for _, path in spools("s3://bucket/runs/")] == [folder]


def test_a_folder_is_a_folder(tmp_path):
    assert local_runs(tmp_path) == tmp_path
    assert local_runs("runs") == Path("runs")
    assert target_of(tmp_path / "run") is None
    assert canonical("some/runs") == "some/runs"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s4://bucket/x", "unknown scheme s4://"),
        ("s3://", "names no bucket"),
        ("s3://k:s@bucket/x", "credentials in an address are not used"),
        ("s3://bucket/x", None),
        ("file:///x", None),
        ("runs", None),
    ],
)
def test_an_address_to_which_nothing_can_be_shipped_is_told_at_the_start(url, said):
    trouble = trouble_with(url)
    assert (trouble is None) == (said is None)
    assert said is None or said in str(trouble)


def test_without_the_package_of_object_stores_its_name_is_told(monkeypatch):
    monkeypatch.setattr("thermograd.store.shipping.spool.find_spec", lambda name: None)
    assert "pip install 'thermograd[cloud]'" in str(trouble_with("s3://bucket/x"))
    assert trouble_with("file:///x") is None


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="a folder that cannot be written")
def test_where_the_spool_cannot_be_written_another_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("THERMOGRAD_SPOOL")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert spool_for("s3://b/x").is_relative_to(tmp_path)


def shipped(tmp_path):
    url = f"file://{tmp_path}/place"
    run, writer = new_run(spool_for(url))
    log_steps(writer, 1, 20)
    writer.close()
    place = place_of(url)
    ship_to_the_end(run.path, url, lambda _: None, 0.0, place)
    return run, place


def test_a_shipped_run_is_removed_after_its_days_and_not_before(tmp_path):
    run, place = shipped(tmp_path)
    assert clean(run.path.parent, place, 7.0) == []
    assert clean(run.path.parent, place, 0.0) == [run.run_id]
    assert list_runs(run.path.parent) == []


def spoil_a_byte(run, place):
    (segment,) = sealed_segments(run.path, "step")
    name = f"{run.run_id}/sealed/step/{segment.path.name}"
    data = bytearray(place.get(name))
    data[-20] ^= 1
    place.put(name, bytes(data))


def lose_a_file(run, place):
    place.delete(f"{run.run_id}/sealed/mark/{sealed_segments(run.path, 'mark')[0].path.name}")


def lose_the_facts(run, place):
    place.delete(f"{run.run_id}/run.json")


def put_something_aside(run, place):
    (run.path / "quarantine").mkdir()
    (run.path / "quarantine" / "x.arrows").write_bytes(b"x")


def tag_it(run, place):
    write_json(run.path / "tags.json", {"tags": ["good"]})


def say_that_it_is_complete_without_being_so(run, place):
    for entry in [*place.list(f"{run.run_id}/sealed")]:
        place.delete(entry.name)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_a_byte,
        lose_a_file,
        lose_the_facts,
        put_something_aside,
        tag_it,
        say_that_it_is_complete_without_being_so,
    ],
)
def test_nothing_is_removed_that_the_place_does_not_give_back(tmp_path, spoil):
    run, place = shipped(tmp_path)
    assert is_proven(run, place)
    spoil(run, place)
    assert clean(run.path.parent, place, 0.0) == []
    assert Run(run.path).counts()["step"] == 20


@pytest.mark.parametrize("name", ["damaged", "conflicts"])
def test_a_run_with_damage_or_a_conflict_is_never_removed(tmp_path, name):
    import json

    run, place = shipped(tmp_path)
    told = json.loads((run.path / STATE).read_text()) | {name: ["sealed/step/x.parquet"]}
    (run.path / STATE).write_text(json.dumps(told))
    assert clean(run.path.parent, place, 0.0) == []
