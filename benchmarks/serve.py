"""What the page costs and stands: 1,000 runs listed, 20 clients, one that does not read, and attacks.

A server as a process of its own over 1,000 runs of 200 steps and 100 samples. Memory is its resident set,
shared libraries included. Latency is that of `/api/runs?limit=20` asked for over a new connection, while
1,000 connections are open and silent, and while a request of 100 MB is being sent again and again.
"""

import argparse
import contextlib
import http.client
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from fleet_runs import fleet_runs
from serving import Served, serving

MB = 1e6
CLIENTS, IDLE, ASKED = 20, 1000, 50


def ask(server: Served, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of one answer, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, headers={"X-Thermograd": "1"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def timed(function: Callable[[], object]) -> float:
    """Return how long a call takes, s."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def row(*cells: object) -> None:
    """Print one row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def memory_mb(server: Served) -> float:
    """Return the resident set of the server."""
    return psutil.Process(server.process.pid).memory_info().rss / MB


def listing(server: Served) -> None:
    """Print how long the list takes: just started, then as it is asked for again and again."""
    process = psutil.Process(server.process.pid)
    first = timed(lambda: ask(server, "/api/runs?limit=200"))
    row("the page's first 200 of 1,000 runs, just started", f"{first:.2f} s", "")
    every = timed(lambda: ask(server, "/api/runs?limit=1000"))
    spent = sum(process.cpu_times()[:2])
    row("then all of them", f"{every:.2f} s", f"{spent:.1f} s of processor time since its start")
    time.sleep(1.1)
    again = [timed(lambda: ask(server, "/api/runs?limit=1000")) for _ in range(5)]
    row("again", f"{statistics.median(again):.2f} s", f"longest {max(again):.2f} s")
    by_loss = timed(lambda: ask(server, "/api/runs?sort=loss&desc=1&limit=1000"))
    row("sorted by loss", f"{by_loss:.2f} s", "")
    where = timed(lambda: ask(server, "/api/runs?where=loss%3C1.99"))
    row("WHERE loss < 1.99, in the sandbox", f"{where:.2f} s", "")
    curves = "&".join(f"run=fleet-{n:05}" for n in range(60))
    row("curves of 60 runs", f"{timed(lambda: ask(server, f'/api/sparklines?{curves}')):.2f} s", "")


def many_clients(server: Served) -> None:
    """Print the memory while 20 clients ask for the list, curves and pages at once."""

    def look(number: int) -> None:
        curves = "&".join(f"run=fleet-{60 * number % 960 + n:05}" for n in range(60))
        for path in ("/", "/static/vega.js", "/api/runs?limit=1000", f"/api/sparklines?{curves}"):
            ask(server, path)

    before = memory_mb(server)
    threads = [threading.Thread(target=look, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    largest = before
    while any(thread.is_alive() for thread in threads):
        largest = max(largest, memory_mb(server))
        time.sleep(0.01)
    row(f"memory with {CLIENTS} clients", f"{largest:.0f} MB", f"{before:.0f} MB before")


@contextlib.contextmanager
def stalled(server: Served, path: str) -> Iterator[socket.socket]:
    """Give a connection that has asked for something and reads none of it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield client


def not_reading(server: Served) -> None:
    """Print what each client costs that asks for the whole list and reads nothing."""
    for _ in range(3):
        ask(server, "/api/runs?limit=1000")
    before = memory_mb(server)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(stalled(server, "/api/runs?limit=1000"))
        time.sleep(5)
        grown = (memory_mb(server) - before) / CLIENTS
        row("a client that does not read", f"{grown:.2f} MB", f"each of {CLIENTS}")
        begun = time.monotonic()
        with stalled(server, "/static/vega.js") as one:
            one.settimeout(60)
            time.sleep(25)
            with contextlib.suppress(ConnectionError):
                while one.recv(1 << 20):
                    pass
            row("it is cut off", f"within {time.monotonic() - begun:.0f} s", "")


def latencies(server: Served) -> list[float]:
    """Return how long each of some answers takes, ms, after one that looks at the runs anew."""
    ask(server, "/api/runs?limit=20")
    return [1e3 * timed(lambda: ask(server, "/api/runs?limit=20")) for _ in range(ASKED)]


def told_latencies(what: str, found: list[float]) -> None:
    """Print the middle and the longest of some latencies."""
    row(what, f"{statistics.median(found):.0f} ms", f"longest {max(found):.0f} ms of {len(found)}")


def attacked(server: Served) -> None:
    """Print how long others wait for an answer during attacks."""
    told_latencies("answered, nobody else there", latencies(server))
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        told_latencies(f"answered beside {IDLE:,} idle connections", latencies(server))
        row("memory with them", f"{memory_mb(server):.0f} MB", "")
    over = threading.Event()
    refused: list[int] = []
    thread = threading.Thread(target=send_much, args=(server, over, refused))
    thread.start()
    told_latencies("answered beside requests of 100 MB", latencies(server))
    over.set()
    thread.join()
    row("requests of 100 MB", f"{len(refused)} refused", f"memory {memory_mb(server):.0f} MB")


def send_much(server: Served, over: threading.Event, refused: list[int]) -> None:
    """Send requests of 100 MB, one after the other, until told to end."""
    head = "POST /api/compare HTTP/1.1\r\nHost: localhost\r\nX-Thermograd: 1\r\n"
    head += "Content-Length: 100000000\r\n\r\n"
    while not over.is_set():
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", server.port)) as one,
        ):
            one.sendall(head.encode())
            for _ in range(100):
                one.sendall(b"x" * 1_000_000)
        refused.append(413)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="A folder of runs, made by an earlier call.")
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not folder.exists() or not any(folder.iterdir()):
            list(fleet_runs(folder, given.count, steps=200, samples=100))
        server = stack.enter_context(serving(folder))
        listing(server)
        many_clients(server)
        not_reading(server)
        attacked(server)


if __name__ == "__main__":
    main()
