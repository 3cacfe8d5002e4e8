"""What one append costs: a step event of 6 scalars, against its peers, each in a process of its own.

Against a bare `os.write`, and the worst call: ``goals/append.py``.

The writers take turns (A B C ... A B C ...), and every ratio is between two medians of one round. All
append the same events. They differ in what a killed process loses: thermograd and SQLite
have the event in the page cache when the call returns, mlflow has committed it; wandb, trackio and
TensorBoard have put it into a queue (log_kill.py).
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import HEADER, load, paired, parser, peers_python, row

OURS = ("thermograd", "sqlite")
PEERS = ("wandb", "trackio", "tensorboard")
GOALS = (
    ("wandb", 0.1, "<= 1/10 of wandb, offline"),
    ("trackio", 1.0, "below trackio"),
    ("sqlite", 1.0, "below a SQLite WAL commit"),
    ("tensorboard", None, "TensorBoard, 6 scalars"),
    ("mlflow", None, "mlflow, SQLite, synchronous"),
)
SLOW = {"mlflow": 100}  # takes ten milliseconds a call: a hundredth of the events
Result = dict[str, float]


def measure(writer: str, events: int, seed: int) -> Result:
    """Run one writer in a fresh process, in the environment that has it."""
    python = Path(sys.executable) if writer in OURS else peers_python()
    script = Path(__file__).with_name("peer_writers.py")
    with tempfile.TemporaryDirectory() as folder:
        count = str(events // SLOW.get(writer, 1))
        command = [str(python), str(script), writer, count, folder, str(seed)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: Result = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    """Measure in turn and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=None)
    options = arguments.parse_args()
    rounds = options.rounds or (2 if options.quick else 5)
    events = options.events or (2_000 if options.quick else 20_000)
    with_peers = peers_python() is not None
    if not with_peers:
        print("no .venv-peers: sh benchmarks/peers_env.sh makes it", file=sys.stderr)
    writers = [*OURS, *(PEERS if with_peers else ())]
    results: dict[str, list[Result]] = {writer: [] for writer in writers}
    for turn in range(rounds):
        for writer in writers if turn % 2 == 0 else reversed(writers):
            results[writer].append(measure(writer, events, options.seed))
    if with_peers:
        results["mlflow"] = [measure("mlflow", events, options.seed)] * rounds

    print(f"{rounds} rounds of {events:,} events, {load()}\n\n{HEADER}")
    ours = [result["p50"] for result in results["thermograd"]]
    for peer, limit, goal in GOALS:
        if peer in results:
            theirs = [result["p50"] for result in results[peer]]
            ratio, text = paired(ours, theirs)
            shown = f"{statistics.median(ours):.2f} us", f"{statistics.median(theirs):.2f} us"
            print(row("append, p50", goal, *shown, text, None if limit is None else ratio <= limit))


if __name__ == "__main__":
    main()
