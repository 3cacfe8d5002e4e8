"""Draw the naive method beside ours on the same simulated truth: the figure that says what thermograd is for.

    python benchmarks/naive_figure.py --measure    # 6 minutes of one core; writes naive_figure.json
    python benchmarks/naive_figure.py              # draws docs/images/naive-vs-thermograd.{png,svg}

The naive method is the one usually published: each optimizer step gets the nearest sample, and Pearson's r
of gradient norm and temperature is read with its p-value, or by its size. Steps come 2.4 times a second,
samples once; norms are exp(x). Ours is `residual_cross_correlation`, 999 permutations, lags 0 to 12 s.
Repetition k of a process is drawn from the seed (sum of the name's bytes, m, k).
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import naive_drawing
import numpy as np
import scipy.special
from thermograd.analysis.calibration.processes import COUPLINGS, NULLS, Pair
from thermograd.analysis.coupling.cross_correlation import naive_pearson, residual_cross_correlation
from thermograd.store.align.matching import nearest

_HERE = Path(__file__).parent
_RESULTS = _HERE / "naive_figure.json"
_IMAGES = _HERE.parent / "docs" / "images"
_STEPS_PER_S = 2.4
_LOG_RANGE = 3.5


def naive_verdicts(pair: Pair) -> tuple[bool, bool]:
    """Return whether the naive method says p <= .05, and whether it says |r| > 0.3."""
    m = pair.x.size
    step_s = np.arange(1, round(_STEPS_PER_S * m)) / _STEPS_PER_S
    second = np.ceil(step_s).astype(int) - 1
    scale = min(1.0, _LOG_RANGE / float(np.ptp(pair.x)))
    norms = np.exp(scale * (pair.x - np.median(pair.x)))[second]
    sample_ns = np.arange(1, m + 1) * 10**9
    place = nearest((step_s * 1e9).astype(np.int64), sample_ns, 10**9)
    matched = place >= 0
    r = naive_pearson(norms[matched], pair.y[place[matched]])
    df = int(matched.sum()) - 2
    p = 2.0 * scipy.special.stdtr(df, -abs(r) * math.sqrt(df / max(1.0 - r * r, 1e-300)))
    return bool(p <= 0.05), abs(r) > 0.3


def measure(m: int, repetitions: int) -> dict[str, Any]:
    """Count how often each method says that two series are coupled."""
    rows = []
    for name, make in (NULLS | COUPLINGS).items():
        began, counts = time.process_time(), np.zeros(3, dtype=int)
        for repetition in range(repetitions):
            pair = make(np.random.default_rng([sum(name.encode()), m, repetition]), m)
            ours = residual_cross_correlation(pair.x, pair.y, pair.drivers, seed=repetition)
            counts += [*naive_verdicts(pair), ours.p <= 0.05]
        entry = {"process": name, "coupled": name in COUPLINGS}
        entry |= dict(zip(("naive_p", "naive_r", "ours"), counts.tolist(), strict=True))
        rows.append(entry)
        print(f"{name:14s} naive p {counts[0]}, naive |r| {counts[1]}, ours {counts[2]} of {repetitions}"
              f"  ({time.process_time() - began:.0f} s)", flush=True)  # fmt: skip
    versions = {"numpy": np.__version__}
    return {"m": m, "repetitions": repetitions, "versions": versions, "rows": rows}


def main() -> None:
    """Parse the arguments; measure where asked, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="simulate again")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--length", type=int, default=400, help="bins of 1 s")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    parser.add_argument("--output", type=Path, default=_IMAGES)
    arguments = parser.parse_args()
    if arguments.measure:
        results = measure(arguments.length, arguments.repetitions)
        arguments.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    for path in naive_drawing.draw(results, arguments.output):
        print(path)


if __name__ == "__main__":
    main()
