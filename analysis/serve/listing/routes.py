"""The list of runs as data: its rows, found, sorted and cut on the server, and their small curves."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from thermograd.analysis.serve.listing.rows import Row, Rows
from thermograd.analysis.serve.listing.sparklines import Sparklines
from thermograd.analysis.serve.serving import Refused, Serving, json_answer, query_refused, serving_of
from thermograd.analysis.serve.sql.error_places import told_error
from thermograd.store.errors import ThermogradError
from thermograd.store.files import is_folder
from thermograd.store.places.known import is_mirror, known_runs
from thermograd.store.runs.table import ADDED, SUMMARY, sorted_rows

_MOST_ROWS = 1000
_MOST_CURVES = 60
_MOST_WAITING = 16
_SEARCHED = ("run_id", "name", "state", "devices_label", "verdict", "tags", "notes", "reason")
_NO_CURVES: Mapping[str, Any] = {"loss": [], "grad_norm": []}
_COLUMNS = (*SUMMARY, *ADDED)


class Listing:
    """The rows and curves of one server's runs; who asks is answered in turn, in a thread."""

    def __init__(self, serving: Serving) -> None:
        self.rows = Rows(serving.runs, serving.folder)
        self.curves = Sparklines()
        self._turns = {name: asyncio.Semaphore(1) for name in ("rows", "where", "curves")}
        self._waiting = 0

    async def ask(self, kind: str, function: Any, *given: Any) -> Any:
        """Return what a function returns, after those who asked before; 503 where they are many."""
        if self._waiting >= _MOST_WAITING:
            raise Refused(503, "too many ask at once; ask again in some seconds", {"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._turns[kind]:
                return await anyio.to_thread.run_sync(function, *given)
        finally:
            self._waiting -= 1


def listing_of(serving: Serving) -> Listing:
    """Return the listing of a server."""
    return serving.part(Listing, serving)


async def _runs(request: Request) -> Response:
    listing, asked = listing_of(serving_of(request)), request.query_params
    sort, first, most = (
        _order(asked),
        _whole(asked, "offset", 0, 10**9),
        _whole(asked, "limit", 200, _MOST_ROWS),
    )
    look = await listing.ask("rows", listing.rows.recent)
    ids = None
    if where := asked.get("where", "").strip():
        try:
            ids = await listing.ask("where", listing.rows.fitting, look, where)
        except ThermogradError as error:
            return query_refused(told_error(str(error), where, lines_before=1) | {"field": "where"})
    found = await listing.ask("rows", _found, listing.rows, look, ids, asked.get("search", ""), sort)
    shown = await listing.ask("rows", lambda: [row() for row in found[first : first + most]])
    return json_answer({"rows": shown, "total": len(found), "all": len(look.runs)})


def _order(asked: Mapping[str, str]) -> str:
    name = asked.get("sort") or "started"
    is_falling = asked.get("desc", "1" if "sort" not in asked else "") in ("1", "true")
    column = name.removeprefix("-")
    if column not in _COLUMNS:
        raise Refused(400, f"sort: there is no column of that name; allowed: {', '.join(_COLUMNS)}")
    return f"-{column}" if is_falling or name != column else column


def _whole(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > most:
        raise Refused(400, f"{name}: allowed are whole numbers from 0 to {most:,}")
    return int(text)


def _found(rows: Rows, look: Any, ids: frozenset[str] | None, search: str, sort: str) -> list[Any]:
    """Return functions that give the rows that fit, in order: a row is made where it is asked for."""
    runs = [run for run in look.runs if ids is None or run.run_id in ids]
    if sort.removeprefix("-") == "started" and not search.strip():
        ordered = runs if sort == "started" else runs[::-1]
        return [lambda run=run: rows.of(look, run) for run in ordered]
    words = search.casefold().split()
    told = [row for run in runs if _has(row := rows.of(look, run), words)]
    return [lambda row=row: row for row in sorted_rows(told, sort)]


def _has(row: Row, words: list[str]) -> bool:
    text = "\n".join(str(row[name]) for name in _SEARCHED if row[name]).casefold() if words else ""
    return all(word in text for word in words)


async def _sparklines(request: Request) -> Response:
    serving, run_ids = serving_of(request), request.query_params.getlist("run")
    if len(run_ids) > _MOST_CURVES:
        raise Refused(400, f"allowed are {_MOST_CURVES} runs at once; {len(run_ids)} were asked for")
    listing = listing_of(serving)
    return json_answer(await listing.ask("curves", _curves, listing.curves, serving, run_ids))


def _curves(curves: Sparklines, serving: Serving, run_ids: list[str]) -> dict[str, Any]:
    """Return the curves of runs; of those at a URL only where their events are here already."""
    found = dict.fromkeys(run_ids, _NO_CURVES)
    known = known_runs(serving.folder) if is_mirror(serving.folder) else None
    for run_id in found:
        if known is not None and not (run_id in known and is_folder(serving.folder / run_id / "sealed")):
            continue
        with suppress(Refused):  # deleted since it was listed
            found[run_id] = curves.of(serving.run(run_id))
    return found


ROUTES = [Route("/api/runs", _runs), Route("/api/sparklines", _sparklines)]
