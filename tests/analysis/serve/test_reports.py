"""Reports and comparisons in place: made in turn by a process, shown in a frame, not written."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_runs import fleet_runs
from starlette.testclient import TestClient
from thermograd.analysis.serve import reports
from thermograd.analysis.serve.app import build_app
from thermograd.analysis.serve.security import Allowed
from thermograd.analysis.serve.serving import Serving

OURS = {"X-Thermograd": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    list(fleet_runs(folder, 12, steps=300, samples=150))
    return folder


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    app = build_app(Serving(folder, folder, tmp_path), Allowed(frozenset({"testserver"})))
    with TestClient(app, headers=OURS) as client:
        yield client


def ended(client: TestClient, job: dict[str, Any], longest_s: float = 300.0) -> dict[str, Any]:
    until = time.monotonic() + longest_s
    while job["state"] not in ("done", "failed"):
        assert time.monotonic() < until, job
        time.sleep(0.05)
        job = client.get(f"/api/made/{job['job']}").json()
    return job


def files_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.slow
def test_a_report_is_made_beside_the_runs_and_may_only_run_its_scripts(
    client: TestClient, folder: Path
) -> None:
    before = files_of(folder)
    asked = client.post("/api/run/fleet-00001/report", json={})
    assert asked.status_code == 202
    again = client.post("/api/run/fleet-00001/report", json={}).json()
    assert again["job"] == asked.json()["job"]
    job = ended(client, again)
    assert job["error"] is None
    page = client.get(job["files"]["report.html"])
    assert "fleet 1" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert client.get(job["files"]["figure.png"]).headers["content-type"] == "image/png"
    assert client.get(job["files"]["report.html"].replace("report.html", "verdict.json")).status_code == 404
    assert files_of(folder) == before


def test_what_lies_in_a_run_is_not_served(client: TestClient, folder: Path) -> None:
    assert client.get("/made/fleet-00001/report.html").status_code == 404
    assert client.get("/made/../fleet-00001/run.json").status_code == 404


def test_a_report_that_cannot_be_made_says_why(client: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(reports, "sys", SimpleNamespace(executable="no-such-program"))
    job = ended(client, client.post("/api/run/fleet-00002/report", json={}).json())
    assert (job["state"], job["error"]) == ("failed", "it could not be made: No such file or directory")
    monkeypatch.setattr(reports, "sys", SimpleNamespace(executable="true"))
    job = ended(client, client.post("/api/run/fleet-00002/report", json={}).json())
    assert "ended with 0 and made nothing" in job["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b'{"runs": 3}',
        b'{"runs": ["fleet-00001"]}',
        b'{"runs": [["a"], "b"]}',
        b"[" * 50_000,
    ],
)
def test_a_wrong_comparison_says_what_is_expected(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/compare", content=body)
    assert answer.status_code == 400
    assert "expected" in answer.text or "different runs" in answer.text


def test_runs_are_named_by_whole_ids(client: TestClient) -> None:
    for run in ("latest", "fleet-0000", "../runs/fleet-00001", "fleet 1", ""):
        body = {"runs": [run, "fleet-00002"]}
        assert client.post("/api/compare", json=body).status_code == 404


def test_reports_wait_in_a_short_queue_and_old_ones_go(client: TestClient, monkeypatch: Any) -> None:
    made: list[str] = []

    async def quickly(job: Any) -> None:
        while not made:
            await reports.asyncio.sleep(0.01)
        job.folder.mkdir(parents=True)
        (job.folder / "report.html").write_text("<p>made")

    monkeypatch.setattr(reports, "_made", quickly)
    jobs = [client.post(f"/api/run/fleet-{n:05}/report", json={}) for n in range(9)]
    assert [job.status_code for job in jobs] == [202] * 8 + [503]
    assert jobs[7].json()["before"] == 7
    made.append("now")
    first = ended(client, jobs[0].json())
    for job in jobs[:8]:
        ended(client, job.json())
    for n in range(3, 12):
        client.post(f"/api/run/fleet-{n:05}/report", json={})
    for n in range(2):
        ended(client, client.post("/api/compare", json={"runs": [f"fleet-{n:05}", "fleet-00009"]}).json())
    assert client.get(first["files"]["report.html"]).status_code == 404


def test_the_pages_ask_for_what_they_show(client: TestClient) -> None:
    assert '"make":"/api/run/fleet-00001/report"' in client.get("/run/fleet-00001/report").text.replace(
        " ", ""
    )
    page = client.get("/compare", params={"run": ["fleet-00001", "fleet-00002"]})
    assert "2 runs compared" in page.text
    assert client.get("/compare", params={"run": "fleet-00001"}).status_code == 400
    assert client.get("/run/none/report").status_code == 404
