"""What the server refuses: other names, origins and paths, no token, too much; and that it goes on."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from serving import Served, serving
from starlette.routing import Route
from starlette.testclient import TestClient
from thermograd.analysis.serve.app import build_app
from thermograd.analysis.serve.security import Allowed
from thermograd.analysis.serve.serving import Serving
from thermograd.cli import main
from thermograd.store.listening.connections import MOST_IDLE
from thermograd.store.runs.catalogue import create_run

OURS = {"X-Thermograd": "1"}
TOKEN = "correct-horse-battery"
EVIL = "<script>alert(1)</script>\u202e\"'"


def test_an_error_that_nobody_expected_tells_nothing_of_itself(tmp_path: Path) -> None:
    app = build_app(Serving(tmp_path, tmp_path, tmp_path), Allowed(frozenset({"testserver"})))

    def broken(request: Any) -> Any:
        raise ValueError("password")

    app.router.routes.append(Route("/api/broken", broken))
    answer = TestClient(app, raise_server_exceptions=False).get("/api/broken")
    assert (answer.status_code, "password" in answer.text) == (500, False)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("runs")
    run = create_run(folder, EVIL, run_id="hostile")
    (folder / "outside").mkdir()
    (folder / "linked").symlink_to(run.path, target_is_directory=True)
    with serving(folder) as served:
        yield served


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("runs")
    with serving(folder, environment={"THERMOGRAD_SERVE_TOKEN": TOKEN}) as served:
        yield served


def ask(
    server: Served, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Ask as a program would: nothing about the path is made right before it is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read().decode()
    finally:
        connection.close()


def post(server: Served, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, str], str]:
    return ask(server, path, "POST", body, X_Thermograd="1", **headers)


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:7860", "[::1]:8888", "LOCALHOST"])
def test_a_forwarded_port_is_answered(server: Served, host: str) -> None:
    assert ask(server, "/api/runs", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "evil@localhost", "0.0.0.0"],
)
@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/serve.css"])
def test_another_name_is_refused(server: Served, host: str, path: str) -> None:
    status, headers, text = ask(server, path, Host=host)
    assert (status, "run_id" in text) == (421, False)
    assert "localhost" in text
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"X_Thermograd": "2"},
    ],
)
def test_another_page_cannot_ask_for_anything_to_be_done(server: Served, headers: dict[str, str]) -> None:
    given = {"X_Thermograd": "1", "Host": f"127.0.0.1:{server.port}"} | headers
    assert ask(server, "/api/run/hostile/report", "POST", b"{}", **given)[0] == 403


def test_a_page_of_another_site_may_link_here_and_not_load(server: Served) -> None:
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(server, **visit, Sec_Fetch_Dest="document")[0] == 200
    assert ask(server, **visit, Sec_Fetch_Dest="iframe")[0] == 403
    assert ask(server, "/api/runs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(server, "/api/runs", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors")[0] == 403
    for origin in ("http://evil.example", "null", "http://localhost:1", "http://["):
        assert ask(server, "/api/runs", Origin=origin)[0] == 403
    assert ask(server, "/api/runs", Origin=f"http://127.0.0.1:{server.port}")[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused_with_what_is_allowed(server: Served, method: str) -> None:
    status, headers, _ = ask(server, "/api/runs", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD, POST")


TRAVERSALS = [
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/%252e%252e/app.py",
    "/static/..%2fapp.py",
    "/static/..%5capp.py",
    "/static//etc/passwd",
    "/static/%00",
    "//etc/passwd",
    "/made/../../run.json",
    "/made/..%2f..%2f/report.html",
    *[
        f"/run/{name}"
        for name in ("..", "%2e%2e", "..%2f..", ".", "a%00b", "%2fetc%2fpasswd", "linked", "no")
    ],
    "/run/outside",
    "/run/hostile%2frun.json",
    "/api/run/..%2f..%2fetc/state",
    "/api/run/linked/state",
    "/api/run/%252e%252e/state",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_nothing_outside_of_the_runs_is_there(server: Served, path: str) -> None:
    status, _, text = ask(server, path)
    assert status in (400, 404)
    assert "Traceback" not in text
    assert "root:" not in text


def test_a_stranger_s_name_is_data_and_never_markup(server: Served) -> None:
    status, headers, text = ask(server, "/api/runs")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    (row,) = json.loads(text)["rows"]
    assert (row["run_id"], row["name"]) == ("hostile", EVIL)
    for path in ("/run/%3Cscript%3E", "/%3Cscript%3Ealert(1)%3C/script%3E", "/api/x%3Cscript%3E"):
        assert "<script>alert" not in ask(server, path)[2]


def test_every_answer_says_what_a_browser_must_not_do(server: Served) -> None:
    for path in ("/", "/api/runs", "/static/serve.css", "/nowhere"):
        headers = ask(server, path)[1]
        policy = headers["content-security-policy"]
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'self'" in policy
        told = [
            headers[n] for n in ("referrer-policy", "cross-origin-opener-policy", "x-content-type-options")
        ]
        assert told == ["no-referrer", "same-origin", "nosniff"]


def test_a_request_of_100_mb_is_refused_before_it_is_sent(server: Served) -> None:
    begun = time.process_time()
    status, headers, text = ask(
        server, "/api/sql", "POST", b"{", X_Thermograd="1", Content_Length="100000000"
    )
    assert (status, headers["connection"]) == (413, "close")
    assert "256 KiB" in text
    assert time.process_time() - begun < 10


def test_a_request_that_does_not_say_its_size_is_cut(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = (
            "POST /api/compare HTTP/1.1\r\n"
            "Host: localhost\r\nX-Thermograd: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                client.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            client.sendall(b"0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert client.recv(12) in (b"HTTP/1.1 413", b"")
    assert ask(server, "/api/runs")[0] == 200


def test_idle_connections_make_room_and_others_are_answered(server: Served) -> None:
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(MOST_IDLE + 60)
        ]
        idle[-1].sendall(b"GET /api/runs HTTP/1.1\r\nHost: loc")  # slow, not quiet
        for _ in range(3):
            assert ask(server, "/api/runs")[0] == 200
        with contextlib.suppress(ConnectionError):  # reset, or its end
            assert idle[0].recv(1) == b""


def test_without_its_token_it_tells_nothing(asking: Served) -> None:
    for path in ("/", "/api/runs", "/run/x", "/api/runs?token=wrong", "/?token="):
        status, headers, text = ask(asking, path)
        assert (status, "rows" in text) == (401, False)
        assert TOKEN not in text + str(headers)
    assert ask(asking, "/static/serve.css")[0] == 200
    assert ask(asking, "/api/runs", Cookie="thermograd=x; a=b")[0] == 401


def test_the_token_of_the_address_becomes_a_cookie(asking: Served) -> None:
    assert asking.token == TOKEN
    status, headers, _ = ask(asking, f"/sql?a=1&token={TOKEN}")
    assert (status, headers["location"]) == (303, "/sql?a=1")
    cookie, *flags = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
    assert TOKEN not in cookie
    assert ask(asking, "/api/runs", Cookie=cookie)[0] == 200
    assert ask(asking, "/api/runs", Cookie=cookie[:-1] + "x")[0] == 401
    assert ask(asking, "/api/runs", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(asking, f"//evil.example/?token={TOKEN}")[1]["location"] == "/evil.example/"


def test_a_link_from_elsewhere_gets_the_cookie_by_asking_again_from_here(asking: Served) -> None:
    visit = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert "http-equiv='refresh'" in ask(asking, "/run/x", **visit, Sec_Fetch_Site="cross-site")[2]
    assert "http-equiv" not in ask(asking, "/run/x", **visit, Sec_Fetch_Site="same-origin")[2]


def refusal(*options: str, **environment: str) -> str:
    result = CliRunner().invoke(main, ["--runs", "none", "serve", *options], env=environment)
    assert result.exit_code == 1
    return result.output


def test_what_cannot_be_served_is_one_sentence(server: Served, tmp_path: Path) -> None:
    assert "give another --port" in refusal("--port", str(server.port))
    assert "cannot listen at 192.0.2.1" in refusal("--host", "192.0.2.1")
    assert "cannot listen at no.such.host.invalid" in refusal("--host", "no.such.host.invalid")
    assert "has 5 characters; allowed: 16" in refusal(THERMOGRAD_SERVE_TOKEN="short")
    assert "--token-file: cannot read" in refusal("--token-file", str(tmp_path / "none"))


def test_the_token_stands_in_no_process_s_words(asking: Served) -> None:
    words: Any = Path(f"/proc/{asking.process.pid}/cmdline")
    if not words.exists():
        pytest.skip("no /proc here")
    assert TOKEN not in words.read_text()
