"""10,000 runs on an S3 server: `runs`, an aggregate and one run's report, each as a process of its own.

One run is simulated; its copies, with other ids, are put straight into the server (moto) and folded there by
`thermograd compact`, from an empty cache, as every command after it the first time. The server is a Python
process on the same cores: what of a command's time was its processor time is told apart.

    python benchmarks/fleet_catalogue.py [--runs 10000] [--local] [--folded]
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from thermograd.store.events import KINDS
from thermograd.store.places.catalogue import (
    Known,
    decoded_entry,
    encoded,
    encoded_entry,
    entry_name,
    events_name,
    events_told,
    folded_name,
)
from thermograd.store.places.folder import Folder
from thermograd.store.runs.at_places.batches import folded_events, whole_events
from thermograd.store.runs.at_places.compaction import MOST_RUNS
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.runs.table import RunRow

BUCKET, BASE = "fleet", "runs"
AGGREGATE = "SELECT count(*) AS steps, count(DISTINCT run_id) AS runs, avg(grad_norm) AS mean FROM steps"


def template(folder: Path) -> Run:
    """Return a simulated run of a minute."""
    subprocess.run(
        [*thermograd(folder), "simulate", "--minutes", "1", "--seed", "1"], check=True, capture_output=True
    )
    (run,) = list_runs(folder)
    return run


def thermograd(runs: object) -> list[str]:
    """Return the command line of a command over some runs."""
    return [sys.executable, "-m", "thermograd.cli", "--runs", str(runs)]


def copies(run: Run, count: int) -> dict[str, dict[str, bytes]]:
    """Return the files of each copy by name, its catalogue entry under ``entry``."""
    files = {
        e.name.partition("/")[2]: Folder(run.path.parent).get(e.name) for e in Folder(run.path.parent).list()
    }
    entry = RunRow(run).to_entry()
    made = {}
    for number in range(count):
        run_id = f"run-{number:06}"
        facts = json.loads(files["run.json"]) | {"run_id": run_id, "name": run_id}
        told = entry | {"run_id": run_id, "name": run_id, "facts": facts}
        told["started_time_ns"] = facts["started_time_ns"] = entry["started_time_ns"] + number
        content = {"run.json": json.dumps(facts).encode(), "entry": encoded_entry(told)}
        made[run_id] = files | content
    return made


def folded(run: Run, made: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    """Return what `compact` writes for the copies, made without fetching them."""
    events, content, rows = whole_events(run.path), {}, []
    assert events is not None
    ids = sorted(made)
    for k in range(0, len(ids), MOST_RUNS):
        part = ids[k : k + MOST_RUNS]
        batch = f"00000001-{k // MOST_RUNS:04}-{len(part):03}-00000000"
        for kind in KINDS:
            content[events_name(kind, batch)] = folded_events(dict.fromkeys(part, events), kind)
        for run_id in part:
            entry = decoded_entry(made[run_id].pop("entry"))
            rows.append(Known(run_id, "", events_told(entry), batch, entry))
    return content | {folded_name(1): encoded(rows)}


def serve(port: int, files: dict[str, dict[str, bytes]], others: dict[str, bytes], ready: Any) -> None:
    """Run a server that holds the copies."""
    import logging

    from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    from moto.s3.models import s3_backends

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
    urllib.request.urlopen(request).close()
    backend = s3_backends["123456789012"]["aws"]
    for run_id, of_run in files.items():
        for name, data in of_run.items():
            backend.put_object(
                BUCKET, f"{BASE}/{entry_name(run_id) if name == 'entry' else f'{run_id}/{name}'}", data
            )
    for name, data in others.items():
        backend.put_object(BUCKET, f"{BASE}/{name}", data)
    ready.set()
    time.sleep(86_400)


def timed(what: str, command: list[str], server: psutil.Process | None, environment: dict[str, str]) -> None:
    """Run a command and print its time, its own processor time, and the server's."""
    before = sum(server.cpu_times()[:2]) if server else 0.0
    own_s, began_s = _children_s(), time.perf_counter()
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - began_s
    served = f", server {sum(server.cpu_times()[:2]) - before:.1f} s" if server else ""
    used = f"processor: own {_children_s() - own_s:.1f} s{served}"
    print(f"{what:30} {wall_s:6.1f} s; {used}; exit {done.returncode}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:])


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(runs: str, latest: str, out: Path) -> dict[str, list[str]]:
    """Return the commands that are timed."""
    return {
        "runs": [*thermograd(runs), "runs"],
        "runs --json": [*thermograd(runs), "runs", "--json"],
        "query of runs": [
            *thermograd(runs),
            "query",
            "SELECT state, count(*), avg(loss) FROM runs GROUP BY ALL",
        ],
        "query of steps": [*thermograd(runs), "query", AGGREGATE],
        "report": [*thermograd(runs), "report", latest, "-o", str(out)],
    }


def at_url(files: dict[str, dict[str, bytes]], folder: Path, others: dict[str, bytes]) -> None:
    """Time the commands at a server, folded and not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ALLOW_HTTP": "true",
        "THERMOGRAD_CACHE": str(folder / "cache"),
    }
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=serve, args=(port, files, others, ready), daemon=True)
    process.start()
    ready.wait()
    server, url = psutil.Process(process.pid), f"s3://{BUCKET}/{BASE}"
    if not others:
        timed("compact, first", [*thermograd(url), "compact"], server, environment)
    for again in ("empty cache", "again"):
        for what, command in commands(url, max(files), folder / "report").items():
            if again == "empty cache":
                shutil.rmtree(folder / "cache", ignore_errors=True)
            timed(f"{what}, {again}", command, server, environment)
    if not others:
        timed("compact, nothing new", [*thermograd(url), "compact"], server, environment)
    process.kill()


def in_folder(files: dict[str, dict[str, bytes]], folder: Path) -> None:
    """Time the commands over a local folder, before and after folding."""
    runs = folder / "runs"
    for run_id, of_run in files.items():
        for name, data in of_run.items():
            if name != "entry":
                path = runs / run_id / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    time.sleep(2.1)  # what has just changed is not folded
    for again in ("not folded", "folded"):
        for what, command in commands(str(runs), max(files), folder / "report").items():
            timed(f"{what}, {again}", command, None, {})
        if again == "not folded":
            timed("compact", [*thermograd(runs), "compact"], None, {})


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--local", action="store_true", help="over a folder instead of a server")
    parser.add_argument("--folded", action="store_true", help="begin with what compact gives")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = template(folder / "one")
        files = copies(run, options.runs)
        if options.local:
            in_folder(files, folder)
        else:
            at_url(files, folder, folded(run, files) if options.folded else {})


if __name__ == "__main__":
    main()
