"""SQL for the page: bounded, refused with the place of the error, given as files, ended when nobody waits."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from serving import served
from synthetic import make_run
from thermograd.analysis.serve.serving import Refused
from thermograd.analysis.serve.sql import schema, shown
from thermograd.analysis.serve.sql.asking import Turns
from thermograd.analysis.serve.sql.error_places import told_error
from thermograd.analysis.serve.sql.schema import examples
from thermograd.analysis.serve.sql.shown import shown_answer
from thermograd.store.errors import QueryError
from thermograd.store.query import Stop, connect
from thermograd.store.query.connection import NO_MEMORY
from thermograd.store.query.interrupt import too_late
from thermograd.store.query.sandbox import FOR_STRANGERS, Limits

_ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a query take longer than ten seconds: on a busy machine its process begins late."""
    monkeypatch.setattr(shown, "_SHOWN", replace(shown._SHOWN, timeout_s=120.0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder, steps=40, spikes=[20])
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with served(runs) as url:
        yield url


def _post(url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    own = {"X-Thermograd": "1", "Content-Type": "application/json"} if headers is None else headers
    request = urllib.request.Request(url, json.dumps(body).encode(), own)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _shown(sql: str, runs: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(shown_answer(sql, runs, Stop()))
    return answer


def test_what_a_browser_cannot_hold_as_a_number_goes_as_text(runs: Path) -> None:
    sql = (
        "SELECT 9007199254740993 AS large, 'nan'::DOUBLE AS odd, NULL AS none, [1, 2] AS list, 1.5 AS half, "
        "TIMESTAMP '2026-01-31 12:00:00' AS at, repeat('x', 5000) AS long, true AS yes, 1 AS half"
    )
    told = _shown(sql, runs)
    assert told["columns"] == ["large", "odd", "none", "list", "half", "at", "long", "yes", "half_1"]
    ((large, odd, none, listed, half, at, long, yes, _),) = told["rows"]
    assert (large, odd, none, listed, half, yes) == ("9007199254740993", "nan", None, "[1, 2]", 1.5, True)
    assert at.startswith("2026-01-31T12:00:00")
    assert len(long) == 2003
    assert told["kinds"][:6] == ["number", "number", "text", "text", "number", "time"]


def test_a_large_answer_is_shown_in_part_and_says_so(runs: Path) -> None:
    told = _shown("SELECT range AS n FROM range(5000)", runs)
    assert len(told["rows"]) == 2000
    assert told["truncated"]
    assert "2,000 rows" in told["why"]
    wide = _shown("SELECT repeat('y', 2000) AS a, repeat('z', 2000) AS b, range FROM range(2000)", runs)
    assert sum(len(row[0]) + len(row[1]) for row in wide["rows"]) <= 8 << 20
    assert _shown("SELECT 1 AS one WHERE false", runs)["rows"] == []


def test_a_stopped_answer_ends_at_once(runs: Path) -> None:
    stop = Stop()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(QueryError, match="took its process down"):  # not: stopped after 120 s
        shown_answer(_ENDLESS, runs, stop)
    with pytest.raises(QueryError):
        shown_answer("SELECT 1", runs, stop)


@pytest.mark.parametrize(
    ("sql", "lines_before", "marked"),
    [
        ("SELECT 1,\n  nix(3)", 0, "nix"),
        ("SELECT 'é', nix", 0, "nix"),
        (f"SELECT {', '.join(f'{n}' for n in range(60))}, nix FROM range(3)", 0, "nix"),
        ("SELECT\t\tnix", 0, "nix"),
        ("SELECT '\u6e29\u5ea6', '\U0001f525', nix", 0, "nix"),
        ("range > 1\n AND nix > 2", 1, "nix"),
    ],
)
def test_the_place_of_an_error_is_that_of_the_asker(sql: str, lines_before: int, marked: str) -> None:
    asked = f"SELECT range FROM range(3) WHERE (\n{sql}\n)" if lines_before else sql
    with connect([]) as connection, pytest.raises(Exception, match="LINE") as refused:
        connection.execute(asked)
    told = told_error(str(refused.value), sql, lines_before)
    assert sql[told["position"] :].startswith(marked)
    assert "LINE" not in told["error"]


@pytest.mark.parametrize("told", [too_late(10.0), NO_MEMORY])
def test_the_page_names_no_option_of_the_command_line(told: str) -> None:
    assert "(--" in told
    assert told_error(told, "SELECT 1") == {"error": told.partition(" (--")[0], "position": None}


def test_the_list_of_views_is_no_query_of_a_stranger_s_and_may_take_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Limits] = []

    def answered(sql: str, runs: Path, output_format: str, limits: Limits = FOR_STRANGERS) -> list[bytes]:
        given.append(limits)
        return [b"[]"]

    monkeypatch.setattr(schema, "answer", answered)
    schema.views_told(tmp_path)
    assert FOR_STRANGERS.timeout_s is not None
    assert given == [replace(FOR_STRANGERS, timeout_s=12 * FOR_STRANGERS.timeout_s)]


def test_every_example_is_answered_and_stands_in_the_recipes(runs: Path) -> None:
    recipes = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    given = examples()
    assert len(given) > 10
    assert [each["question"] for each in given[1:] if each["sql"] not in recipes] == []
    with connect(runs) as connection:
        for each in given:
            connection.execute(each["sql"])


def test_a_query_is_refused_with_its_place_and_without_the_header(address: str) -> None:
    status, content = _post(f"{address}/api/sql", {"sql": "SELECT los FROM runs"})
    assert (status, json.loads(content)["position"]) == (200, 7)
    for sql in ("DROP TABLE runs", "SELECT * FROM read_text('/etc/hostname')"):
        assert json.loads(_post(f"{address}/api/sql", {"sql": sql})[1])["error"]
    assert _post(f"{address}/api/sql", {"sql": " "})[0] == 400
    assert _post(f"{address}/api/sql", ["SELECT 1"])[0] == 400
    assert _post(f"{address}/api/sql", {"sql": "SELECT 1"}, {"Content-Type": "text/plain"})[0] == 403


def test_an_answer_is_given_as_a_file(address: str, tmp_path: Path) -> None:
    status, content = _post(
        f"{address}/api/sql/download?format=parquet", {"sql": "SELECT step, loss FROM steps"}
    )
    assert status == 200
    (tmp_path / "answer.parquet").write_bytes(content)
    assert pq.read_table(tmp_path / "answer.parquet").num_rows == 40
    status, content = _post(f"{address}/api/sql/download?format=csv", {"sql": "SELECT nix"})
    assert (status, json.loads(content)["position"]) == (200, 7)
    assert _post(f"{address}/api/sql/download?format=exe", {"sql": "SELECT 1"})[0] == 400


def test_only_a_few_are_answered_at_once_and_the_others_are_told() -> None:
    async def _crowd() -> list[object]:
        turns, open_door = Turns(), asyncio.Event()

        async def _one() -> str:
            async with turns.turn():
                await open_door.wait()
            return "answered"

        tasks = [asyncio.create_task(_one()) for _ in range(20)]
        await asyncio.sleep(0)
        open_door.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    told = asyncio.run(_crowd())
    assert told.count("answered") == 11
    assert {each.status_code for each in told if isinstance(each, Refused)} == {503}
