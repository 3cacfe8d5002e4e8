"""Importing a long log: rows a second of processor time, and the most memory of the process.

Three files of nvidia-smi of 1 GB (8 GPUs, ten columns): in order; with a tenth of its hours in another order;
with one row in a hundred odd (a torn line, a message among the rows, a cell that holds no number). Then logs
of steps: Megatron-LM's text with five metrics a step, and JSON Lines with two. Each is imported, from reading
to the sealed run, by a process of its own.
"""

import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from rows import HEADER, load, parser, row

MOST_MIB, LEAST_ROWS_S = 600.0, 150_000.0
SMI = ("in order", "out of order", "odd rows")
STEPS = ("a text log", "JSON Lines")
HOW = (*SMI, *STEPS)
GPUS, BLOCK_S, DRAWN = 8, 600, 20
NAMES = (
    "timestamp, index, uuid, utilization.gpu [%], power.draw [W], temperature.gpu, clocks.current.sm [MHz], "
    "clocks.current.memory [MHz], memory.used [MiB], clocks_event_reasons.active\n"
)
UUID = "GPU-2a9c1d3e-0000-1111-2222-33334444555"


def readings(rng: random.Random) -> list[str]:
    """Return what stands behind the time in the rows of one block."""
    return [
        f", {gpu}, {UUID}{gpu}, {rng.randrange(101)} %, {rng.uniform(60, 700):.2f} W, "
        f"{rng.randrange(30, 90)}, {rng.randrange(300, 1981, 15)} MHz, 2619 MHz, "
        f"{rng.randrange(1000, 80_000)} MiB, 0x{rng.choice((0, 1, 4)):016x}\n"
        for _ in range(BLOCK_S)
        for gpu in range(GPUS)
    ]


def blocks(rng: random.Random, size: int) -> Iterator[list[str]]:
    """Yield the rows of ten minutes after another, until they are so many bytes; twenty are drawn."""
    drawn = [readings(rng) for _ in range(DRAWN)]
    begin = datetime(2026, 1, 1)
    for number in itertools.count():
        seconds = (begin + timedelta(seconds=number * BLOCK_S + second) for second in range(BLOCK_S))
        times = [f"{second:%Y/%m/%d %H:%M:%S}.{3 * gpu:03}" for second in seconds for gpu in range(GPUS)]
        block = [time + rest for time, rest in zip(times, drawn[number % DRAWN], strict=True)]
        size -= sum(map(len, block))
        yield block
        if size <= 0:
            return


def odd(rng: random.Random, line: str) -> str:
    """Return a row with one of the faults that logs have."""
    cells = line.split(", ")
    cells[4] = "[Unknown Error]"
    lost = "Unable to determine the device handle for GPU0: Unknown Error\n"
    return rng.choice((lost, line[: len(line) // 2] + "\n", ", ".join(cells)))


def write(path: Path, size: int, how: str) -> None:
    """Write a file."""
    rng, held = random.Random(0), list[list[str]]()
    with path.open("w") as file:
        file.write(NAMES)
        for number, block in enumerate(blocks(rng, size)):
            if how == "odd rows":
                block = [odd(rng, line) if rng.random() < 0.01 else line for line in block]
            if how == "out of order" and number % 10 == 0:
                held.append(block)
                continue
            file.writelines(block)
            if len(held) == 20:
                file.writelines(itertools.chain.from_iterable(rng.sample(held, len(held))))
                held.clear()
        file.writelines(itertools.chain.from_iterable(held))


def text_line(rng: random.Random, step: int) -> str:
    """Return what Megatron-LM prints of a step."""
    when = datetime(2026, 1, 1) + timedelta(seconds=2 * step)
    return (
        f" [{when:%Y-%m-%d %H:%M:%S}] iteration {step:8d}/ 9000000 | consumed samples: {288 * step:12d} | "
        f"elapsed time per iteration (ms): {rng.uniform(1900, 2100):.1f} | "
        f"throughput per GPU (TFLOP/s/GPU): {rng.uniform(300, 400):.1f} | "
        f"learning rate: {rng.uniform(1e-5, 1e-4):.6E} | global batch size:   288 | "
        f"lm loss: {rng.uniform(1, 3):.6E} | loss scale: 1.0 | grad norm: {rng.uniform(0.1, 2):.3f} | "
        "number of skipped iterations:   0 | number of nan iterations:   0 |\n"
    )


def json_line(rng: random.Random, step: int) -> str:
    """Return an object of a step."""
    entry = {"step": step, "time": 1_767_225_600 + 2 * step, "loss": rng.uniform(1, 3)}
    others = {"grad_norm": rng.uniform(0.1, 2), "lr": rng.uniform(1e-5, 1e-4), "mfu": rng.uniform(0.3, 0.5)}
    return json.dumps(entry | others | {"tokens_per_s": round(rng.uniform(1e4, 2e4), 1)}) + "\n"


def write_steps(path: Path, size: int, how: str) -> None:
    """Write a log of steps."""
    rng, line_of = random.Random(0), text_line if how == "a text log" else json_line
    with path.open("w") as file:
        for step in itertools.count(1):
            size -= file.write(line_of(rng, step))
            if size <= 0:
                return


def measure(path: Path) -> None:
    """Import a file in this process; print what it took."""
    from thermograd.ingest.importers.import_logs import import_run

    result = import_run(path.parent / "runs", [path], timezone="UTC")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = {"account": result["account"], "cpu_s": usage.ru_utime + usage.ru_stime}
    print(json.dumps(told | {"peak_mib": usage.ru_maxrss / 1024}))


def main() -> None:
    """Write and import the files, and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--megabytes", type=int, default=None)
    arguments.add_argument("--only", choices=HOW, default=None)
    arguments.add_argument("--one", type=Path, default=None)
    options = arguments.parse_args()
    if options.one:
        measure(options.one)
        return
    megabytes = options.megabytes or (50 if options.quick else 1000)
    print(f"files of {megabytes} MB, {load()}\n\n{HEADER}")
    for how in (options.only,) if options.only else HOW:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            (write if how in SMI else write_steps)(path, megabytes * 1_000_000, how)
            command = [sys.executable, __file__, "--one", str(path)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = json.loads(output.splitlines()[-1])
        rows = found["account"]["read"]
        rate, peak = rows / found["cpu_s"], found["peak_mib"]
        what = f"{how}, {rows:,} rows"
        is_goal = how in SMI
        print(
            row(
                f"{what}: a second of processor time",
                f">= {LEAST_ROWS_S:,.0f}" if is_goal else "-",
                f"{rate:,.0f}",
                "-",
                f"{rate / LEAST_ROWS_S:.2f}" if is_goal else "-",
                rate >= LEAST_ROWS_S if is_goal else None,
            )
        )
        shown = f"{peak:.0f} MiB"
        print(
            row(
                f"{what}: peak",
                f"<= {MOST_MIB:g} MiB",
                shown,
                "-",
                f"{peak / MOST_MIB:.2f}",
                peak <= MOST_MIB,
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
