"""What all runs say together of one pair of signals: the pooled effect, and the session swap."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.fft
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.random_effects import Pooled, pool

_FEWEST_RUNS = 5
_SWAPS, _MOST_SWAPPED = 399, 2000  # random pairings; runs that enter them
_SAME_PERIOD = 0.1  # relative: bins that are one length

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PooledPair:
    """One pair of signals over all runs that have it.

    Attributes
    ----------
    x, y
        The signals.
    group
        Which runs: a name and a value, such as "model: H100"; empty for all.
    runs, coupled
        How many entered, and in how many the pair was found coupled.
    r, r_low, r_high, lag_s
        The mean effect by random effects with its 95 % interval (simultaneous over lags), and the lag of the
        common peak.
    new_low, new_high
        Between what the r of a further run is expected, 95 %: the prediction interval.
    i_squared
        Share of the runs' variance that is no sampling error.
    p_swap
        Share of the random pairings of training with another run's hardware that fit as well on average; None
        for a group, and with fewer than 5 runs.
    left_out
        Runs that have the pair in bins of another length.
    """

    x: str
    y: str
    group: str
    runs: int
    coupled: int
    r: float
    r_low: float
    r_high: float
    lag_s: float
    new_low: float
    new_high: float
    i_squared: float
    p_swap: float | None
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``analyze --all --json``."""
        return asdict(self)


def pooled_pair(rows: Sequence[Row], group: str = "", swap: bool = False) -> PooledPair | None:
    """Pool the rows of one pair of signals; None with fewer than 2 usable runs.

    A run counts once: of several devices the mean of Fisher's z, with the freedom of one of them.
    """
    period_s = _common_period([row["period_s"] for row in rows])
    usable = [row for row in rows if abs(row["period_s"] / period_s - 1) <= _SAME_PERIOD]
    by_run: dict[str, list[Row]] = defaultdict(list)
    widths = [len(row["profile"]) for row in usable]
    width = max(set(widths), key=widths.count, default=0)
    for row in usable:
        if len(row["profile"]) == width and row["df"] > 1:
            by_run[row["run_id"]].append(row)
    if len(by_run) < 2:
        return None
    r = np.array([_mean_r([row["profile"] for row in some]) for some in by_run.values()])
    df = np.array([float(np.median([row["df"] for row in some])) for some in by_run.values()])
    lags = np.arange(width) - width // 2
    found: Pooled = pool(r, df, lags)
    p = None
    if swap and len(by_run) >= _FEWEST_RUNS:
        p = _swap_p([some[0] for some in by_run.values()], lags)
    return PooledPair(
        x=rows[0]["x"],
        y=rows[0]["y"],
        group=group,
        runs=len(by_run),
        coupled=len({row["run_id"] for row in rows if row["verdict"] == "coupled"}),
        r=found.r,
        r_low=found.r_low,
        r_high=found.r_high,
        lag_s=found.lag * period_s,
        new_low=found.new_low,
        new_high=found.new_high,
        i_squared=found.i_squared,
        p_swap=p,
        left_out=len({row["run_id"] for row in rows} - set(by_run)),
    )


def _common_period(periods: Sequence[float]) -> float:
    """Return the length of bin that most runs have."""
    rounded = np.round(np.log(np.asarray(periods)) / _SAME_PERIOD)
    values, counts = np.unique(rounded, return_counts=True)
    commonest = values[np.argmax(counts)]
    return float(np.median(np.asarray(periods)[rounded == commonest]))


def _mean_r(profiles: Sequence[Sequence[float]]) -> Floats:
    z = np.arctanh(np.clip(np.array(profiles), -1 + 1e-12, 1 - 1e-12))
    return np.asarray(np.tanh(z.mean(axis=0)))


def _swap_p(rows: Sequence[Row], lags: np.ndarray[Any, np.dtype[np.int64]]) -> float | None:
    """Return how often other runs' hardware fits as well: the largest |mean t| over the lags.

    A mean of t over many pairings is one product of spectra, so thousands of runs take seconds.
    """
    chosen = [row for row in rows if row["residual_x"] and row["residual_y"]]
    chosen = sorted(chosen, key=lambda row: _scattered(row["run_id"]))[:_MOST_SWAPPED]
    if len(chosen) < _FEWEST_RUNS:
        return None
    first, second = (_spectra([row[name] for row in chosen]) for name in ("residual_x", "residual_y"))
    rng = np.random.default_rng(_scattered(f"{rows[0]['x']}\0{rows[0]['y']}"))
    observed = _peak(first, second, lags)
    as_large = sum(
        _peak(first, second[rng.permutation(len(chosen))], lags) >= observed * (1 - 1e-9)
        for _ in range(_SWAPS)
    )
    return float((1 + as_large) / (_SWAPS + 1))


def _scattered(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _spectra(residuals: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.complex64]]:
    """Return the spectra of series of variance 1, and of the weight that their own length gives them."""
    series = [np.nan_to_num(np.frombuffer(each, np.float16).astype(np.float32)) for each in residuals]
    length = max(each.size for each in series)
    whole = np.zeros((len(series), scipy.fft.next_fast_len(2 * length, real=True)), dtype=np.float32)
    for place, each in enumerate(series):
        size = max(float(np.linalg.norm(each)), 1e-12)
        whole[place, : each.size] = each * (max(each.size, 1) ** 0.25 / size)
    return np.asarray(scipy.fft.rfft(whole, axis=1))


def _peak(first: Any, second: Any, lags: Any) -> float:
    together = np.einsum("ij,ij->j", np.conj(first), second)
    return float(np.abs(scipy.fft.irfft(together)[lags]).max())


def is_supported(pair: PooledPair, p_adjusted: float, level: float = 0.05) -> bool:
    """Return whether the runs are coupled on average: they fit themselves best, and the mean is not zero."""
    return bool(math.isfinite(p_adjusted) and p_adjusted <= level and (pair.r_low > 0 or pair.r_high < 0))
