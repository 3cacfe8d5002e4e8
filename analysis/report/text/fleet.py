"""The analysis of a fleet in words, for a terminal: a verdict, which runs, what they say together."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

from thermograd.analysis.fleet.analyze import FleetAnalysis
from thermograd.analysis.fleet.pooled import PooledPair
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable, table_text

_MOST_RUNS, _MOST_GROUPS, _MOST_ERRORS = 12, 12, 5
_MATTERS = 0.2
_CONTROLLED = {
    "BH": "Benjamini-Hochberg: no two runs shared a host at one time",
    "BY": "Benjamini-Yekutieli: runs shared a host at one time, or the host is not known",
}


def describe_fleet(found: FleetAnalysis, runs: str = "") -> str:
    """Return an analysis of many runs as text: the verdict, runs that stand out, pairs over all runs.

    `runs` is where they are, for a command that is shown; not needed where it is the default.
    """
    lines = [*verdict_lines(found), *filter(None, [found.simulated]), "", *_basis_lines(found)]
    rows = [row for kind in ("pair", "event") for row in found.rows(kind, "coupled")]
    if rows:
        lines += ["", "Runs that stand out", _runs_table(rows)]
        lines += [f"and {len(rows) - _MOST_RUNS} more: in findings"] * (len(rows) > _MOST_RUNS)
    if found.pooled:
        lines += ["", "All runs together (random effects; session swap)", _pooled_table(found)]
    if found.groups:
        lines += ["", "By group", _groups_table(found.groups)]
    lines += _untested(found.untested)
    lines += ["", *found.notes] if found.notes else []
    if found.path is not None:
        there = f"--runs {shlex.quote(runs)} " if runs else ""
        asked = f'thermograd {there}query "FROM findings WHERE is_newest"'
        lines += ["", f"Findings: {found.path} ({asked})"]
    return "\n".join(line for line in lines)


def verdict_lines(found: FleetAnalysis) -> list[str]:
    """Return what may be said of the whole fleet, a sentence each."""
    if not found.tests:
        return ["CANNOT TELL: no run has a training signal and a hardware signal that can be tested."]
    of = counted(found.tested, "run")
    if found.coupled:
        first = f"COUPLED IN {len(found.coupled)} OF {of}, at a false discovery rate of at most .05."
    else:
        first = f"CANNOT TELL of any single run: none of {of} stands out after control of false discoveries."
    supported = found.supported
    if supported:
        return [first, *(f"ON AVERAGE COUPLED: {_effect(pair)}." for pair in supported)]
    return [first, _not_supported(found)]


def _not_supported(found: FleetAnalysis) -> str:
    """Say how large an effect on average is excluded, or that nothing is."""
    known = [pair for pair in found.pooled if pair.p_swap is not None]
    if not known:
        return "CANNOT TELL of the average: fewer than 5 runs share a pair of signals."
    bound = max(max(abs(pair.r_low), abs(pair.r_high)) for pair in known)
    if bound < _MATTERS:
        return (
            f"ON AVERAGE NOT SHOWN: the pooled intervals of all {counted(len(known), 'pair')} of signals "
            f"exclude |r| above {bound:.2f} after one delay."
        )
    return f"CANNOT TELL of the average: an effect of |r| up to {min(bound, 1.0):.2f} is not excluded."


def _effect(pair: PooledPair) -> str:
    leads = "follows" if pair.lag_s > 0 else "goes with" if pair.lag_s == 0 else "precedes"
    after = f" by {abs(pair.lag_s):.3g} s" if pair.lag_s else ""
    return (
        f"{pair.y} {leads} {pair.x}{after}, r = {_interval(pair.r, pair.r_low, pair.r_high)} over "
        f"{counted(pair.runs, 'run')}; of a further run between {pair.new_low:+.2f} and {pair.new_high:+.2f}"
    )


def _basis_lines(found: FleetAnalysis) -> list[str]:
    left = [(found.failed, "could not be read"), (found.repeats, "repeat another's training")]
    told = "".join(f"; {count} {what}" for count, what in left if count)
    return [
        f"{counted(found.runs, 'run')}{told}. {found.tests:,} tests of runs x devices x signals; a run "
        f"counts as one, corrected for its tests, and over runs false discoveries are controlled "
        f"({_CONTROLLED[found.method]}).",
        f"Done by {found.engine} in {found.seconds:.1f} s.",
    ]


def _runs_table(rows: Sequence[dict[str, Any]]) -> str:
    header = ["run", "device", "training", "hardware", "n", "r", "answers", "p", "p run", "q"]
    best = sorted(rows, key=lambda row: (row["q"], row["p_adjusted"], row["run_id"]))[:_MOST_RUNS]
    return table_text(header, [_run_row(row) for row in best])


def _run_row(row: dict[str, Any]) -> list[str]:
    lag = "-" if row["lag_s"] is None else f"{row['lag_s']:+.1f} s"
    answers = lag if row["memory_s"] is None else f"memory {row['memory_s']:.3g} s"
    names = [printable(row[name]) for name in ("run_id", "device", "x", "y")]
    return [*names, str(row["n"]), f"{row['r']:+.2f}", answers, *(f"{row[k]:.1g}" for k in _P)]


_P = ("p", "p_adjusted", "q")


def _pooled_table(found: FleetAnalysis) -> str:
    header = [
        "training",
        "hardware",
        "runs",
        "coupled",
        "r",
        "95 %",
        "further run",
        "lag",
        "I2",
        "p swap",
        "p all",
    ]
    return table_text(
        header,
        [
            [
                *(pair.x, pair.y, str(pair.runs), str(pair.coupled), f"{pair.r:+.3f}"),
                *(_span(pair.r_low, pair.r_high), _span(pair.new_low, pair.new_high)),
                *(f"{pair.lag_s:+.0f} s", f"{pair.i_squared:.0%}"),
                *("-" if p is None or math.isnan(p) else f"{p:.2g}" for p in (pair.p_swap, adjusted)),
            ]
            for pair, adjusted in zip(found.pooled, found.p_adjusted, strict=True)
        ],
    )


def _groups_table(groups: Sequence[PooledPair]) -> str:
    """Return the groups of the pairs that differ most from nothing."""
    shown = sorted(groups, key=lambda pair: -pair.coupled)[:_MOST_GROUPS]
    rows = [
        [
            *(printable(pair.group), pair.x, pair.y, str(pair.runs), str(pair.coupled)),
            *(f"{pair.r:+.3f}", _span(pair.r_low, pair.r_high)),
        ]
        for pair in shown
    ]
    table = table_text(["group", "training", "hardware", "runs", "coupled", "r", "95 %"], rows)
    more = len(groups) - len(shown)
    return f"{table}\nand {more} more: in --json" if more else table


def _untested(runs: Sequence[tuple[str, str]]) -> list[str]:
    if not runs:
        return []
    told = [f"  {printable(run_id)}: {printable(why, 300)}" for run_id, why in runs[:_MOST_ERRORS]]
    more = [f"  and {len(runs) - _MOST_ERRORS} more: in findings"] * (len(runs) > _MOST_ERRORS)
    return ["", f"{counted(len(runs), 'run')} could not be tested", *told, *more]


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} {_span(low, high)}"


def _span(low: float, high: float) -> str:
    return f"[{low:+.2f}, {high:+.2f}]"
