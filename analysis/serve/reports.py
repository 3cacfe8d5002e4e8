"""Reports and comparisons, opened in place: made one at a time, in a process of their own that is niced.

What is made lies in the server's own folder, under a name that cannot be guessed, and is served into a frame
that may run its scripts and nothing else: the runs directory is not written to, and a report that lies there
already, which somebody else may have written, is not served.
"""

import asyncio
import json
import os
import secrets
import shlex
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from thermograd.analysis.serve.pages import framed_page
from thermograd.analysis.serve.serving import Refused, json_answer, serving_of
from thermograd.store.places.stamps import stamps
from thermograd.store.runs.catalogue import Run

_TIMEOUT_S = 900.0
_MOST_WAITING = 8
_MOST_KEPT = 12
_MOST_COMPARED = 8
_FILES = {
    "report.html": "text/html; charset=utf-8",
    "figure.png": "image/png",
    "figure.pdf": "application/pdf",
    "compare.png": "image/png",
    "compare.pdf": "application/pdf",
    "analysis.json": "application/json",
    "compare.json": "application/json",
}
_POLICY = (  # the page's own, stricter one holds as well
    "sandbox allow-scripts allow-downloads allow-modals; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@dataclass(eq=False)
class Job:
    """One report or comparison: what it is of, and how far it is."""

    runs: list[Path]
    stamp: str
    into: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = "waiting"
    doing: str = ""
    error: str | None = None
    asked_s: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """Where what is made lies."""
        return self.into / self.token

    def told(self, before: int) -> dict[str, Any]:
        """Return what the page shows of it; `before`: how many are made before it."""
        told: dict[str, Any] = {
            "job": self.token,
            "state": self.state,
            "doing": self.doing,
            "error": self.error,
        }
        if self.state == "done":
            there = [name for name in _FILES if (self.folder / name).is_file()]
            told["files"] = {name: f"/made/{self.token}/{name}" for name in there}
        return told | {"before": before, "waited_s": round(time.monotonic() - self.asked_s, 1)}


class Desk:
    """Makes what is asked for, in turn; the last few are kept."""

    def __init__(self, own: Path) -> None:
        self._into = own / "made"
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, runs: Sequence[Path], stamp: str, again: bool = False) -> Job:
        """Return the job for some runs as they are now: one that there is, or a new one.

        `again`: a new one also where it has been made.
        """
        for job in self._jobs.values():
            is_over = job.state == "failed" or (again and job.state == "done")
            if job.runs == list(runs) and job.stamp == stamp and not is_over:
                return job
        if len(self._waiting()) >= _MOST_WAITING:
            raise Refused(503, f"{_MOST_WAITING} reports are waiting to be made; ask again in a minute")
        job = Job(list(runs), stamp, self._into)
        self._jobs[job.token] = job
        self._forget()
        task = asyncio.get_running_loop().create_task(self._work(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, token: str) -> Job:
        """Return a job by its token."""
        if token not in self._jobs:
            raise Refused(404, "there is no such report any more; open it again from its run")
        return self._jobs[token]

    def told(self, job: Job) -> dict[str, Any]:
        """Return what the page shows of a job."""
        waiting = self._waiting()
        return job.told(waiting.index(job) if job in waiting else 0)

    def _waiting(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state in ("waiting", "working")]

    def _forget(self) -> None:
        over = [job for job in self._jobs.values() if job.state in ("done", "failed")]
        for job in over[: max(0, len(self._jobs) - _MOST_KEPT)]:
            del self._jobs[job.token]
            shutil.rmtree(job.folder, ignore_errors=True)

    async def _work(self, job: Job) -> None:
        async with self._turn:
            job.state = "working"
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    job.error = await _made(job)
            except TimeoutError:
                job.error = f"it was not made in {_TIMEOUT_S / 60:.0f} minutes; try thermograd report"
            except OSError as error:
                job.error = f"it could not be made: {error.strerror or error}"
            job.state = "failed" if job.error else "done"


async def _made(job: Job) -> str | None:
    """Let a process make it; return why it could not, or None."""
    job.folder.mkdir(parents=True)
    asked = {"runs": list(map(str, job.runs)), "into": str(job.folder), "parent": os.getpid()}
    command = (sys.executable, "-P", "-m", "thermograd.analysis.serve.making")
    own = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=own, cwd=job.folder
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        return await _followed(process, job)
    finally:  # also where the server ends: it must not go on alone
        if process.returncode is None:
            process.kill()
        process.stdin.close()
        await process.wait()


async def _followed(process: Process, job: Job) -> str | None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        try:
            told = json.loads(line)
        except ValueError:  # what a library printed
            continue
        if not isinstance(told, dict):
            continue
        if "error" in told or "done" in told:
            return told.get("error")
        job.doing = str(told.get("doing", ""))
    code = await process.wait()
    return f"its process ended with {code} and made nothing; try thermograd report in a terminal"


def _desk(request: Request) -> Desk:
    serving = serving_of(request)
    return serving.part(Desk, serving.own)


async def _ask(request: Request, run_ids: Sequence[str], again: bool) -> Response:
    serving, desk = serving_of(request), _desk(request)
    found = await anyio.to_thread.run_sync(lambda: [_stamped(serving.run(run_id)) for run_id in run_ids])
    stamp = "/".join(stamp for _, stamp in found)
    return json_answer(desk.told(desk.ask([run.path.absolute() for run, _ in found], stamp, again)), 202)


def _stamped(run: Run) -> tuple[Run, str]:
    return run, stamps(str(run.path)).row


async def _asked(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Refused(400, "expected is an object in JSON")
    return asked


async def _ask_report(request: Request) -> Response:
    again = (await _asked(request)).get("again") is True
    return await _ask(request, [request.path_params["run_id"]], again)


async def _ask_comparison(request: Request) -> Response:
    asked = await _asked(request)
    runs = asked.get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
        raise Refused(400, 'expected is {"runs": [ID, ID]}, of the ids of runs')
    return await _ask(request, _compared(runs), asked.get("again") is True)


def _compared(run_ids: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(run_ids))
    if not 2 <= len(distinct) <= _MOST_COMPARED:
        raise Refused(400, f"2 to {_MOST_COMPARED} different runs are compared; {len(distinct)} were named")
    return distinct


async def _job(request: Request) -> Response:
    desk = _desk(request)
    return json_answer(desk.told(desk.find(request.path_params["job"])))


async def _file(request: Request) -> Response:
    job, name = _desk(request).find(request.path_params["job"]), request.path_params["name"]
    path = job.folder / name
    if name not in _FILES or job.state != "done" or not path.is_file():
        raise Refused(404, "there is no such file of this report")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return FileResponse(path, media_type=_FILES[name], headers=headers)


def _report_page(request: Request) -> Response:
    run = serving_of(request).run(request.path_params["run_id"])
    make = f"/api/run/{quote(run.run_id, safe='')}/report"
    command = f"thermograd report {shlex.quote(run.run_id)}"
    return framed_page(request, f"Report of {run.name}", make, {}, [("The run", _page_of(run))], command)


def _comparison_page(request: Request) -> Response:
    run_ids = _compared(request.query_params.getlist("run"))
    runs = [serving_of(request).run(run_id) for run_id in run_ids]
    links = [(run.name, _page_of(run)) for run in runs]
    command = f"thermograd compare {shlex.join(run_ids)} -o comparison"
    return framed_page(
        request, f"{len(runs)} runs compared", "/api/compare", {"runs": run_ids}, links, command
    )


def _page_of(run: Run) -> str:
    return f"/run/{quote(run.run_id, safe='')}"


ROUTES = [
    Route("/run/{run_id}/report", _report_page),
    Route("/compare", _comparison_page),
    Route("/api/run/{run_id}/report", _ask_report, methods=["POST"]),
    Route("/api/compare", _ask_comparison, methods=["POST"]),
    Route("/api/made/{job}", _job),
    Route("/made/{job}/{name}", _file),
]
