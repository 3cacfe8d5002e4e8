"""The list of runs as data: the same rows as of the command, found and ordered; kept until a file changes."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fleet_runs import fleet_runs
from mirrored_runs import ODD_IDS, write_run
from starlette.testclient import TestClient
from thermograd.analysis.serve.app import build_app
from thermograd.analysis.serve.listing import rows as rows_module
from thermograd.analysis.serve.listing.rows import Rows
from thermograd.analysis.serve.listing.sparklines import curves_of
from thermograd.analysis.serve.security import Allowed
from thermograd.analysis.serve.serving import Refused, Serving
from thermograd.store.log.writer import EventWriter
from thermograd.store.places.folder import Folder
from thermograd.store.places.known import found_at
from thermograd.store.places.mirror import Mirror
from thermograd.store.runs.catalogue import Run, create_run, list_runs
from thermograd.store.runs.table import RunRow
from thermograd.store.runs.tags import change_tags


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    runs = list(fleet_runs(folder, 5, steps=200, samples=20))
    change_tags(runs[3].path, ["baseline"], (), None)
    return folder


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    app = build_app(Serving(folder, folder, tmp_path), Allowed(frozenset({"testserver"})))
    with TestClient(app) as client:
        yield client


def listed(client: TestClient, **asked: Any) -> Any:
    answer = client.get("/api/runs", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(told: Any) -> list[int]:
    return [int(row["run_id"].removeprefix("fleet-")) for row in told["rows"]]


def test_the_rows_are_those_of_the_command(client: TestClient, folder: Path) -> None:
    told = listed(client)
    assert told["rows"] == [RunRow(run).to_json() for run in reversed(list_runs(folder))]
    assert (told["total"], told["all"]) == (5, 5)


def test_rows_are_ordered_cut_and_found(client: TestClient) -> None:
    assert ids(listed(client, sort="started", offset=1, limit=2)) == [1, 2]
    assert ids(listed(client, sort="run_id", desc="1", limit=2)) == [4, 3]
    told = listed(client, sort="loss")["rows"]
    assert [row["loss"] for row in told] == sorted(row["loss"] for row in told)
    assert ids(listed(client, search="BASELINE fleet")) == [3]
    assert listed(client, search="nothing of that kind")["total"] == 0


def test_a_condition_is_that_of_the_command_runs(client: TestClient, monkeypatch: Any) -> None:
    patient = replace(rows_module.FOR_STRANGERS, timeout_s=120.0)  # a busy machine begins its process late
    monkeypatch.setattr(rows_module, "FOR_STRANGERS", patient)
    assert ids(listed(client, where="run_id >= 'fleet-00003' -- a comment")) == [4, 3]
    refused = client.get("/api/runs", params={"where": "los < 2"})
    assert (refused.status_code, refused.json()["field"]) == (200, "where")
    assert "los" in refused.json()["error"]
    attack = "true) UNION (SELECT content FROM read_text('/etc/passwd')"
    assert client.get("/api/runs", params={"where": attack}).headers["X-Refused"] == "query"


@pytest.mark.parametrize("asked", [{"sort": "nope"}, {"limit": "1e9"}, {"limit": "5000"}, {"offset": "-1"}])
def test_what_cannot_be_asked_for_is_told_with_what_can(client: TestClient, asked: dict[str, str]) -> None:
    answer = client.get("/api/runs", params=asked)
    assert answer.status_code == 400
    assert "allowed" in answer.json()["error"]


def test_a_row_is_kept_until_a_file_of_its_run_changes(tmp_path: Path, monkeypatch: Any) -> None:
    (run,) = fleet_runs(tmp_path, 1, steps=50, samples=5)
    rows = Rows(tmp_path, tmp_path)
    monkeypatch.setattr("thermograd.analysis.serve.listing.rows._FRESH_S", -1.0)

    def now() -> Any:
        look = rows.look()
        return rows.of(look, look.runs[0])

    first = now()
    assert now() is first
    change_tags(run.path, ["new"], (), None)
    assert now()["tags"] == ["new"]


def test_a_live_run_s_row_is_told_anew(tmp_path: Path, monkeypatch: Any) -> None:
    run = create_run(tmp_path, "live")
    rows = Rows(tmp_path, tmp_path)
    monkeypatch.setattr("thermograd.analysis.serve.listing.rows._FRESH_S", -1.0)
    with contextlib.closing(EventWriter(run.path, run.run_id, "host-r0-1-abcdef")):
        look = rows.look()
        assert rows.of(look, run)["state"] == "live"
    look = rows.look()
    assert rows.of(look, run)["state"] != "live"


def test_a_link_to_a_run_elsewhere_is_not_listed(client: TestClient, tmp_path: Path) -> None:
    (elsewhere,) = fleet_runs(tmp_path / "elsewhere", 1, steps=50, samples=5)
    own = tmp_path / "runs"
    own.mkdir()
    (own / "linked").symlink_to(elsewhere.path, target_is_directory=True)
    assert Rows(own, own).look().runs == []


def test_curves_keep_a_spike_and_are_few_points(client: TestClient, folder: Path) -> None:
    told = client.get("/api/sparklines", params={"run": ["fleet-00001", "gone"]}).json()
    assert set(told) == {"fleet-00001", "gone"}
    assert told["gone"] == {"loss": [], "grad_norm": []}
    assert {len(curve) for curve in told["fleet-00001"].values()} == {60}
    assert client.get("/api/sparklines", params={"run": ["x"] * 61}).status_code == 400


def test_curves_of_a_live_run_hold_its_largest_value(tmp_path: Path) -> None:
    run = create_run(tmp_path, "live")
    with contextlib.closing(EventWriter(run.path, run.run_id, "host-r0-1-abcdef")) as writer:
        for step in range(500):
            norm = 99.0 if step == 251 else 1.0
            writer.append("step", step=step, rank=0, grad_norm=norm)
        curves = curves_of(Run(run.path))
    assert max(curves["grad_norm"]) == 99.0
    assert curves["loss"] == []


def test_runs_of_odd_names_are_found_by_them(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for run_id in ODD_IDS:
        write_run(folder, run_id)
    served = Serving(folder, folder, tmp_path)
    app = build_app(served, Allowed(frozenset({"testserver"})))
    with TestClient(app) as client:
        assert sorted(row["run_id"] for row in listed(client)["rows"]) == sorted(ODD_IDS)
        for run_id in ODD_IDS:
            assert served.run(run_id).path == folder / run_id
            if "%" not in run_id:  # the test's client decodes a path twice; the server once
                assert client.get(f"/run/{quote(run_id, safe='')}/report").status_code == 200
            assert len(client.get("/api/sparklines", params={"run": run_id}).json()[run_id]["loss"]) == 5


def test_runs_of_a_mirror_are_listed_and_fetched_when_they_are_opened(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    write_run(tmp_path / "place", "far")
    mirror = Mirror(Folder(tmp_path / "place"))
    found_at(mirror)
    served = Serving(tmp_path / "place", mirror.root, tmp_path)
    with TestClient(build_app(served, Allowed(frozenset({"testserver"})))) as client:
        assert [row["run_id"] for row in listed(client)["rows"]] == ["far"]
        asked = {"run": ["far", "../place/far", "a\0b"]}
        assert {
            len(curves["loss"]) for curves in client.get("/api/sparklines", params=asked).json().values()
        } == {0}
        assert len(list((served.run("far").path / "sealed" / "step").iterdir())) == 1
        with pytest.raises(Refused):
            served.run("near")


def test_a_name_that_is_no_unicode_is_still_json(tmp_path: Path) -> None:
    from thermograd.analysis.serve.serving import json_answer

    told = json.loads(bytes(json_answer({"name": "a\ud800b", "loss": float("nan")}).body))
    assert told == {"name": "a\ud800b", "loss": None}
