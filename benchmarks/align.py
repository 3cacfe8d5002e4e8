"""`nearest` against polars' join_asof: every step with the nearest sample of each of 8 devices.

The rule, in full in `analysis.align.nearest`, is spelled out in a slow loop for some of the steps and in
plain numpy for all. Each join runs in a process of its own, in turn, with one thread. Two inputs, both
sorted by time: one table of all devices with a device column (`nearest_by`), and one table a device
(`nearest`), as `analyze` reads them from the log. Each step is matched on one device, which is drawn.
`goals/align.py` compares them; times are of the processor.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rows import peers_python

DEVICES = 8
TOLERANCE_NS = 1_000_000_000
Result = dict[str, float]

# All read the prepared arrays, join once unmeasured on a few rows (imports, thread pools), then time.
COMMON = """
import json, resource, sys, threading, time
import numpy as np
folder, best = sys.argv[1], int(sys.argv[2])
load = lambda name: np.load(f"{folder}/{name}.npy")
status = lambda key: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
def measured(join):
    join(1000)
    open("/proc/self/clear_refs", "w").write("5")  # the high-water mark starts again here
    before = status("VmRSS")
    times = []
    for _ in range(best):
        begun = time.process_time(); result = join(None); times.append(time.process_time() - begun)
    print(json.dumps({"s": min(times), "mb": (status("VmHWM") - before) / 1024}))
    return result
"""
CODES = {
    ("ours", "one table"): """
from thermograd.benchmarks.nearest_by import nearest_by
step_time, sample_time = load("step_time"), load("sample_time")
step_device, sample_device = load("step_device"), load("sample_device")
join = lambda n: nearest_by(step_time[:n], step_device[:n], sample_time, sample_device, 1_000_000_000)
np.save(f"{folder}/ours-one.npy", measured(join))
""",
    ("ours", "a table a device"): """
from thermograd.store.align.matching import nearest
pairs = [(load(f"steps-{d}"), load(f"samples-{d}")) for d in range(8)]
result = measured(lambda n: [nearest(steps[:n], samples[:n], 1_000_000_000) for steps, samples in pairs])
np.save(f"{folder}/ours-split.npy", np.concatenate(result))
""",
    ("polars", "one table"): """
import polars as pl
steps = pl.DataFrame({"t": load("step_time"), "device": load("step_device")}).set_sorted("t")
times, devices = load("sample_time"), load("sample_device")
samples = pl.DataFrame({"t": times, "device": devices, "row": np.arange(len(times))}).set_sorted("t")
near = {"on": "t", "by": "device", "strategy": "nearest", "tolerance": 1_000_000_000}
near["check_sortedness"] = False  # of groups: polars says that it cannot, and warns
join = lambda n: steps[:n].join_asof(samples[:n], **near)["row"]
np.save(f"{folder}/polars-one.npy", measured(join).fill_null(-1).to_numpy())
""",
    ("polars", "a table a device"): """
import polars as pl
pairs = []
for d in range(8):
    steps, times = load(f"steps-{d}"), load(f"samples-{d}")
    samples = pl.DataFrame({"t": times, "row": np.arange(len(times))}).set_sorted("t")
    pairs.append((pl.DataFrame({"t": steps}).set_sorted("t"), samples))
near = {"on": "t", "strategy": "nearest", "tolerance": 1_000_000_000}
join = lambda n: [steps[:n].join_asof(samples[:n], **near)["row"] for steps, samples in pairs]
np.save(f"{folder}/polars-split.npy", pl.concat(measured(join)).fill_null(-1).to_numpy())
""",
}


def prepare(folder: Path, steps: int, samples: int, seed: int) -> None:
    """Draw the times: a millisecond clock, 1 % repeated samples, holes of 3 s; a device for each step."""
    rng = np.random.default_rng(seed)
    span_ms = samples // DEVICES * 100
    times = np.sort(rng.integers(0, span_ms, samples))
    repeated = rng.random(samples) < 0.01
    times[1:][repeated[1:]] = times[:-1][repeated[1:]]
    in_hole = times % 60_000 < 4_000
    times = times[~in_hole] * 1_000_000 + 1_780_000_000_000_000_000
    device = rng.integers(0, DEVICES, times.size).astype(np.int8)
    device[1:][repeated[~in_hole][1:]] = device[:-1][repeated[~in_hole][1:]]
    step_time = np.sort(rng.integers(0, span_ms, steps)) * 1_000_000 + 1_780_000_000_000_000_000
    step_device = rng.integers(0, DEVICES, steps).astype(np.int8)
    arrays = {
        "sample_time": times,
        "sample_device": device,
        "step_time": step_time,
        "step_device": step_device,
    }
    for number in range(DEVICES):
        arrays[f"steps-{number}"] = step_time[step_device == number]
        arrays[f"samples-{number}"] = times[device == number]
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def by_rule(steps: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rule's answer in plain numpy: last of the earlier ones, or last at the next later time."""
    before = np.searchsorted(samples, steps, side="right") - 1
    after = np.minimum(before + 1, samples.size - 1)
    after = np.searchsorted(samples, samples[after], side="right") - 1
    far = np.iinfo(np.int64).max
    past = np.where(before >= 0, steps - samples[before], far)
    ahead = np.where(samples[after] > steps, samples[after] - steps, far)
    found = np.where(past <= ahead, before, after)
    result: NDArray[np.int64] = np.where(np.minimum(past, ahead) <= TOLERANCE_NS, found, -1)
    return result


def by_hand(step: int, samples: NDArray[np.int64]) -> int:
    """Return the rule's answer for one step, as the sentence says it."""
    distance = np.abs(samples - step)
    if distance.min() > TOLERANCE_NS:
        return -1
    nearest = samples[distance == distance.min()].min()
    return int(np.flatnonzero(samples == nearest)[-1])


def truth(folder: Path, device: int) -> NDArray[np.int64]:
    """Return the index of the match of each step of a device, checked by hand where that is affordable."""
    steps, samples = (np.load(folder / f"{name}-{device}.npy") for name in ("steps", "samples"))
    answer = by_rule(steps, samples)
    for at in np.random.default_rng(0).integers(0, steps.size, 20):
        if by_hand(steps[at], samples) != answer[at]:
            raise RuntimeError(f"the rule in numpy is not the rule, device {device}, step {at}")
    return answer


def differing_rows(folder: Path) -> dict[str, int]:
    """Return in how many rows each saved answer is not the rule's."""
    sample_device, step_device = np.load(folder / "sample_device.npy"), np.load(folder / "step_device.npy")
    split = [truth(folder, device) for device in range(DEVICES)]
    expected = {"split": np.concatenate(split), "one": np.empty(step_device.size, np.int64)}
    for device, wanted in enumerate(split):
        rows = np.append(np.flatnonzero(sample_device == device), -1)
        expected["one"][step_device == device] = rows[wanted]
    return {
        f"{who}-{how}": int((np.load(path) != right).sum())
        for how, right in expected.items()
        for who in ("ours", "polars")
        if (path := folder / f"{who}-{how}.npy").exists()
    }


def measure(folder: Path, who: str, how: str, best: int) -> Result:
    """Run one join in a fresh process with one thread."""
    python = sys.executable if who == "ours" else str(peers_python())
    command = [python, "-c", COMMON + CODES[who, how], str(folder), str(best)]
    environment = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    result: Result = json.loads(output.splitlines()[-1])
    return result
