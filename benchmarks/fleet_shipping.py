"""What shipping costs: bytes, requests and processor time of a node a day, and what an exit waits.

Run from the checkout: ``python benchmarks/fleet_shipping.py`` (three minutes; needs the extra ``cloud`` and
moto). A job of `RANKS` ranks logs `STEPS_PER_S` steps a second each, their agent samples the devices that a
simulated GPU gives; one node here ships it to an S3 server on this machine, another writes to a folder. The
difference is what shipping costs.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psutil

_DAY_S = 86_400

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

_SCRIPT = """
import os, sys, time
import thermograd
ranks, steps_per_s, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
with thermograd.start_run("cost", simulate="dc") as run:
    print(run.agent.pid, flush=True)
    others = [EventWriter(run.path, run.run_id, new_writer_name(f"r{rank}")) for rank in range(1, ranks)]
    begun = time.monotonic()
    step = 0
    while time.monotonic() - begun < seconds:
        step += 1
        run.step(loss=1.0 / step, grad_norm=2.0 + step % 7, learning_rate=1e-3)
        for rank, writer in enumerate(others, 1):
            writer.append("step", step=step, rank=rank, loss=1.0 / step, grad_norm=2.0, learning_rate=1e-3)
        time.sleep(max(0.0, begun + step / steps_per_s - time.monotonic()))
    for writer in others:
        writer.close()
    asked = time.monotonic()
print("exit", time.monotonic() - asked, flush=True)
"""


def measure(runs: str, environment: dict[str, str], options: argparse.Namespace) -> dict[str, float]:
    """Run the job once; return what its agent took."""
    words = [str(options.ranks), str(options.steps_per_s), str(options.seconds)]
    job = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, *words],
        env=os.environ | environment | {"THERMOGRAD_RUNS": runs, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert job.stdout is not None
    agent = psutil.Process(int(job.stdout.readline()))
    watched: dict[str, float] = {}

    def watch() -> None:
        begin = None
        while True:
            try:
                times, memory = agent.cpu_times(), agent.memory_info().rss
            except psutil.Error:
                return
            spent = times.user + times.system
            if begin is None and time.monotonic() - started > options.warm_s:
                begin = (spent, time.monotonic())
            if begin is not None:
                watched["cpu_s"], watched["wall_s"] = spent - begin[0], time.monotonic() - begin[1]
            watched["rss_mb"] = max(memory / 1e6, watched.get("rss_mb", 0.0))
            time.sleep(0.25)

    started = time.monotonic()
    thread = threading.Thread(target=watch)
    thread.start()
    watched["exit_s"] = float(job.stdout.readline().split()[1])
    job.wait()
    thread.join()
    return watched


class Counting(threading.Thread):
    """Lists what is at the URL from time to time, to count objects as they come and their bytes."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        from thermograd.store.places.place import place_of

        self._place, self.seen, self.over = place_of(url), {}, threading.Event()  # type: ignore[var-annotated]

    def run(self) -> None:
        """Count until it is over."""
        while not self.over.wait(1.0):
            for entry in self._place.list():
                self.seen[entry.name, entry.etag] = entry.size_bytes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-s", type=float, default=10.0)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps-per-s", type=float, default=2.0)
    parser.add_argument("--every-s", type=float, default=10.0)
    options = parser.parse_args()
    from ports import reserved_port
    from server_processes import HOST, ServerProcess, running
    from servers import S3Server

    packages = ", ".join(f"{name} {version(name)}" for name in ("obstore", "moto"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {packages}")
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", HOST, "-p", str(port)]
        with running(ServerProcess(command, port, Path(folder) / "server.txt")):
            server = S3Server(port)
            os.environ.update(server.environment)
            url = f"{server.make_bucket()}/runs"
            setting = {"THERMOGRAD_SPOOL": f"{folder}/spool", "THERMOGRAD_SHIP_EVERY_S": str(options.every_s)}
            here = measure(f"{folder}/runs", {}, options)
            counting = Counting(url)
            counting.start()
            there = measure(url, setting, options)
            counting.over.set()
            counting.join()
    for name, found in (("to a folder", here), ("to S3", there)):
        cores = found["cpu_s"] / found["wall_s"]
        print(f"{name:12} agent: {cores:.4f} cores, {found['rss_mb']:.0f} MB; exit {found['exit_s']:.2f} s")
    report(here, there, counting.seen, options)


def report(
    here: dict[str, float],
    there: dict[str, float],
    seen: dict[tuple[str, str], int],
    options: argparse.Namespace,
) -> None:
    """Print what a GPU costs a day."""
    share = _DAY_S / options.seconds / options.ranks
    more_s = (there["cpu_s"] / there["wall_s"] - here["cpu_s"] / here["wall_s"]) * _DAY_S / options.ranks
    print(
        f"shipping: {more_s:.0f} CPU s a GPU and day; {there['rss_mb'] - here['rss_mb']:.0f} MB more a node"
    )
    for what, is_events in (("events", True), ("facts", False)):
        sizes = [size for (name, _), size in seen.items() if ("/sealed/" in name) == is_events]
        print(f"{what:8} {len(sizes) * share:.0f} PUTs, {sum(sizes) * share / 1e6:.1f} MB a GPU and day")


if __name__ == "__main__":
    main()
