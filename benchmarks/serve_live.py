"""The live page of a run of 1 M steps that grows by 1,000 a second: opening, frames, delay, memory, overhead.

Needs Chromium. A frame is what Chrome's trace calls a task of the page's main thread; the delay is from a
step's own time to the moment at which it is drawn.
"""

import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rows import HEADER, load, paired, parser, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

_STEPS_PER_S = 1000
_CLIENTS, _STALLED = 20, 10
_END = "Number(document.getElementById('timeline').dataset.end)"
_LAG = """() => new Promise((done) => {
  const node = document.getElementById('timeline'), lags = [];
  const watcher = new MutationObserver(() => lags.push(Date.now() / 1000 - Number(node.dataset.newest)));
  watcher.observe(node, { attributeFilter: ['data-end'] });
  setTimeout(() => { watcher.disconnect(); done(lags); }, 10000);
})"""


def write(run_dir: Path, seconds: float) -> None:
    """Append steps to a run for so long, 1,000 a second, and a sample a second."""
    from thermograd.store.log.writer import EventWriter

    writer = EventWriter(run_dir, run_dir.name, "live-r0", ("step",), role="training")
    agent = EventWriter(run_dir, run_dir.name, "live-agent", ("sample",), role="agent")
    from scale_runs import device_names

    begun, written, sampled = time.time(), 0, 0
    while (passed := time.time() - begun) < seconds:
        while written < passed * _STEPS_PER_S:
            values = {"loss": 2.0 + 0.1 * (written % 7), "grad_norm": 1.0 + 0.1 * (written % 11)}
            writer.append("step", step=10**6 + written, rank=0, step_time_s=0.001, **values)
            written += 1
        while sampled < passed:
            told = {"temperature_c": 60.0 + sampled % 5, "power_w": 640.0, "utilization_pct": 97.0}
            agent.append("sample", device=device_names(1)[0], **told)
            sampled += 1
        time.sleep(0.01)
    writer.close()
    agent.close()


def train(run_dir: Path, steps: int) -> None:
    """Train for so many steps and print the median time of one, s."""
    import numpy as np
    from thermograd.store.log.writer import EventWriter

    writer = EventWriter(run_dir, run_dir.name, f"t{time.time_ns()}-r0", ("step",), role="training")
    weights, took = np.random.default_rng(0).normal(size=(160, 160)), []
    for step in range(steps):
        begun = time.perf_counter()
        weights = np.tanh(weights @ weights.T / 160)
        writer.append("step", step=step, rank=0, loss=float(weights[0, 0]), grad_norm=1.0)
        took.append(time.perf_counter() - begun)
        time.sleep(0.002)
    writer.close()
    sys.stdout.write(f"{statistics.median(took)}\n")


def big_run(folder: Path, steps: int) -> Path:
    """Write a run that seems to have begun a day ago, its last step a moment ago; return its directory."""
    import scale_runs

    scale_runs.START_NS = time.time_ns() - 86_400 * 10**9
    run = scale_runs.scale_run(folder, 1, 86_400.0, min(86_400, steps), steps, name="big")
    return Path(run.path)


@contextlib.contextmanager
def beside(*arguments: str) -> Iterator[None]:
    """Run this script beside the block, in another part."""
    process = subprocess.Popen([sys.executable, __file__, *arguments])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def resident_mb(pid: int, name: str = "VmRSS") -> float:
    """Return a process's memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def opened_s(page: Any, address: str) -> float:
    """Open a run's page; return after how many seconds it is drawn."""
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    while not page.evaluate(f"document.getElementById('timeline') && {_END} > 0"):
        page.wait_for_timeout(5)
    return time.perf_counter() - begun


def longest_tasks_ms(page: Any, seconds: float) -> list[float]:
    """Return how long the tasks of the page's main thread took of a processor by Chrome's trace, ms."""
    session, told = page.context.new_cdp_session(page), []
    session.on("Tracing.dataCollected", lambda part: told.extend(part["value"]))
    over: list[Any] = []
    session.on("Tracing.tracingComplete", lambda told_over: over.append(told_over))
    session.send("Tracing.start", {"categories": "toplevel,disabled-by-default-devtools.timeline,blink"})
    page.wait_for_timeout(1000 * seconds)
    session.send("Tracing.end")
    while not over:
        page.wait_for_timeout(50)
    names = {(e["pid"], e["tid"]) for e in told if e.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [e for e in told if (e["pid"], e["tid"]) in names and e["name"].endswith("RunTask")]
    return sorted(event.get("tdur", event["dur"]) / 1e3 for event in tasks if "dur" in event)


def connected(port: int, run_id: str) -> socket.socket:
    """Return a connection that has asked for a run's events."""
    connection = socket.create_connection(("127.0.0.1", port))
    asked = f"GET /api/run/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    connection.sendall(asked.encode())
    return connection


def read_for(connections: list[socket.socket], seconds: float) -> int:
    """Read what comes on connections for so long; return how many bytes did."""
    import selectors

    selector, until, total = selectors.DefaultSelector(), time.monotonic() + seconds, 0
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ)
    while time.monotonic() < until:
        for key, _ in selector.select(0.2):
            total += len(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]
    return total


def measure(folder: Path, quick: bool, rounds: int) -> None:
    """Measure all but the overhead, and print the rows."""
    from playwright.sync_api import sync_playwright
    from serving import serving

    run_dir, seconds = big_run(folder, 20_000 if quick else 1_000_000), 3 if quick else 15
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    opened = []
    with sync_playwright() as playwright, beside("--write", str(run_dir)):
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for left in reversed(range(rounds)):
            with serving(folder) as server:
                page = browser.new_page(viewport={"width": 1400, "height": 1000})
                opened.append(opened_s(page, f"{server.url}/run/{run_dir.name}"))
                if not left:
                    page.wait_for_timeout(5000)
                    tasks = longest_tasks_ms(page, seconds)
                    lags = sorted(page.evaluate(_LAG))
                    alone = resident_mb(server.process.pid)
                    clients = [connected(server.port, run_dir.name) for _ in range(_CLIENTS)]
                    read = read_for(clients, seconds)
                    with_clients = resident_mb(server.process.pid)
                    stalled = [connected(server.port, run_dir.name) for _ in range(_STALLED)]
                    read_for(clients, 2 * seconds)
                    each = (resident_mb(server.process.pid) - with_clients) / _STALLED
                    peak = resident_mb(server.process.pid, "VmHWM")
                    for connection in (*clients, *stalled):
                        connection.close()
                page.close()
        browser.close()
    middle = statistics.median(opened)
    print(row("1 M steps: opened", "< 2 s", f"{middle:.2f} s", "", f"{rounds} rounds", middle < 2))
    longest, usual = tasks[-1], tasks[-len(tasks) // 100]
    print(
        row("longest task of the page", "< 60 ms", f"{longest:.0f} ms", "", f"of {len(tasks)}", longest < 60)
    )
    print(row("99 of 100 tasks", "< 60 ms", f"{usual:.1f} ms", "", "", usual < 60))
    print(row("a point's delay, median", "< 1 s", f"{lags[len(lags) // 2]:.2f} s", "", "", lags[-1] < 1))
    print(row("a point's delay, longest", "< 1 s", f"{lags[-1]:.2f} s", "", "", lags[-1] < 1))
    print(row("server, 1 client", "", f"{alone:.0f} MiB", "", "", None))
    told = f"server, {_CLIENTS} clients", "< 300 MiB", f"{with_clients:.0f} MiB"
    print(row(*told, "", "", with_clients < 300))
    print(row("server, peak", "", f"{peak:.0f} MiB", "", "", None))
    print(row("a stalled client", "< 2 MiB", f"{each:.2f} MiB", "", f"{_STALLED} at once", each < 2))
    print(row("bytes to a client", "", f"{read / _CLIENTS / seconds / 1024:.1f} KiB/s", "", "", None))


def overhead(folder: Path, quick: bool, rounds: int) -> None:
    """Train with and without a client of the page, in turns, and print the row."""
    from serving import serving
    from thermograd.store.runs.catalogue import create_run

    run, steps = create_run(folder, "trained"), 200 if quick else 2000
    command = [sys.executable, __file__, "--train", str(run.path), "--steps", str(steps)]
    took: dict[bool, list[float]] = {True: [], False: []}
    with serving(folder) as server:
        for turn in range(2 * rounds):
            is_open = turn % 2 == 0
            client = connected(server.port, run.run_id) if is_open else None
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            took[is_open].append(float(told))
            if client is not None:
                client.close()
                time.sleep(12)  # until the run is closed again
    middle, text = paired(took[True], took[False])
    print(row("a training's step, page open against none", "1", text, "", "", middle < 1.03))


def main() -> None:
    """Measure and print the rows."""
    options = parser(__doc__)
    options.add_argument("--write", type=Path, help="only append to this run")
    options.add_argument("--train", type=Path, help="only train into this run")
    options.add_argument("--steps", type=int, default=3000)
    options.add_argument("--only", choices=("page", "overhead"))
    given = options.parse_args()
    if given.write:
        write(given.write, 600.0)
        return
    if given.train:
        train(given.train, given.steps)
        return
    print(f"{load()}\n\n{HEADER}")
    rounds = given.rounds or (1 if given.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "overhead":
            measure(Path(folder) / "a", given.quick, rounds)
        if given.only != "page":
            overhead(Path(folder) / "b", given.quick, rounds)


if __name__ == "__main__":
    main()
