"""What a comparison of runs gives: each run, each pair of signals over all runs, and how alike they are."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import scipy.special
from thermograd.analysis.comparison.compared_runs import ComparedRun, PairAcross
from thermograd.analysis.comparison.differences import Differences
from thermograd.analysis.comparison.reproducibility import FINAL_LOSS, Reproducibility
from thermograd.analysis.comparison.tables import pairs_across_section, runs_section
from thermograd.analysis.display.markup import element, items
from thermograd.analysis.run.series import RunSeries
from thermograd.analysis.run.wording.sentences import follows
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted
from thermograd.store.telling.run_labels import run_labels
from thermograd.store.text import without_nan

_FEWEST_RUNS = 5
_MATTERS = 0.2  # the |r| below which a coupling does not matter, as in `verdict`
_OF_PAIR = "x y device family n r lag_s memory_s p p_adjusted half_width "
_OF_PAIR += "slow_half_width lag_bound slow_bound not_excluded pearson_r over_time verdict"
_OF_PAIR_ACROSS = "x y role family period_s lag_s"
_OF_SWAP = "r r_low r_high i_squared reasons"


@dataclass(eq=False)
class Comparison:
    """What several runs say.

    Attributes
    ----------
    runs
        Every run that was given and could be read.
    chosen
        The pair of signals that was asked for, or else the first of the default order that at least
        two runs have, in both directions; empty where there is none.
    others
        All other pairs, exploratory.
    """

    runs: list[ComparedRun]
    chosen: list[PairAcross]
    others: list[PairAcross]
    reproducibility: Reproducibility
    differences: Differences
    warnings: list[str] = field(default_factory=list)
    series: list[RunSeries] = field(default_factory=list)

    @property
    def counted(self) -> list[ComparedRun]:
        """The runs that are trainings of their own."""
        return [run for run in self.runs if run.repeats is None]

    @property
    def simulated(self) -> int:
        """How many of the runs have a simulated device."""
        return sum(any(device.simulated for device in data.devices.values()) for data in self.series)

    def labels(self, longest: int = 32) -> list[str]:
        """Return a short label for each run, no two alike, which says of a copy whose it is."""
        first = {run.run_id: place for place, run in reversed(list(enumerate(self.runs)))}
        copies = {
            place: first[run.repeats[0]] for place, run in enumerate(self.runs) if run.repeats is not None
        }
        return run_labels([(run.run_id, run.name) for run in self.runs], copies, longest)

    def _repr_html_(self) -> str:
        sentence = element("p", element("strong", comparison_sentence(self)), style="max-width:50em")
        runs = runs_section(self.runs, self.chosen[0] if self.chosen else None)
        across = pairs_across_section(self.chosen, self.others)
        return element("div", sentence, runs, across, items(self.warnings))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of ``compare --json``; what is not known is null."""
        document = {
            "runs": [_run_json(run) for run in self.runs],
            "counted": len(self.counted),
            "question": [_pair_json(pair) for pair in self.chosen],
            "others": [_pair_json(pair) for pair in self.others],
            "reproducibility": asdict(self.reproducibility),
            "differences": asdict(self.differences),
            "warnings": self.warnings,
        }
        return {name: without_nan(value) for name, value in document.items()}


def _values(thing: Any, names: str) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names.split()}


def _run_json(run: ComparedRun) -> dict[str, Any]:
    pair = None if run.pair is None else _values(run.pair, _OF_PAIR)
    return vars(run) | {"repeats": run.repeats[0] if run.repeats else None, "pair": pair}


def _pair_json(pair: PairAcross) -> dict[str, Any]:
    swap = pair.swap
    each = zip(pair.run_ids, swap.run_r, swap.run_low, swap.run_high, swap.run_lag, strict=True)
    runs = [
        {"run_id": run_id, "r": r, "low": low, "high": high, "lag_s": lag * pair.period_s}
        for run_id, r, low, high, lag in each
    ]
    return {
        **_values(pair, _OF_PAIR_ACROSS),
        **_values(swap, "n_runs p p_swap p_sign_flip"),
        "p_adjusted": pair.p_adjusted,
        **_values(swap, _OF_SWAP),
        **_values(pair, "naive_own naive_others"),
        "runs": runs,
    }


def best_of(comparison: Comparison) -> PairAcross | None:
    """Return the direction of the question that says most; None where the runs share no pair."""
    return min(comparison.chosen, key=_by_p) if comparison.chosen else None


def comparison_verdict(comparison: Comparison) -> str:
    """Return the verdict over all runs, in the words of `verdict`."""
    best = best_of(comparison)
    if best is None or math.isnan(best.swap.p):
        return "insufficient"
    if best.p_adjusted <= 0.05:
        return "coupled"
    return "no_coupling" if _bound(comparison) < _MATTERS else "inconclusive"


def _bound(comparison: Comparison) -> float:
    return max(max(abs(pair.swap.r_low), abs(pair.swap.r_high)) for pair in comparison.chosen)


def comparison_sentence(comparison: Comparison) -> str:
    """Return what the runs show together about the question, how sure, and what is missing."""
    best = best_of(comparison)
    if best is None or best.swap.n_runs < 2:
        return _too_few(comparison)
    what, numbers = f"{signal(best.x).name} and {signal(best.y).name}", f"pooled r = {interval(best)}"
    trainings, said = best.swap.n_runs, comparison_verdict(comparison)
    if said == "insufficient":
        return (
            f"CANNOT TELL from {trainings} different trainings: the session swap needs {_FEWEST_RUNS}, "
            f"{_FEWEST_RUNS - trainings} more. Described only: {what}, {numbers} at lag {best.lag_s:+.0f} s."
        )
    if said == "coupled":
        return (
            f"COUPLED over {trainings} trainings: {what} fit their own run better than another run's, "
            f"{follows(best.lag_s)} ({numbers}, session swap p = {best.p_adjusted:.2g}). "
            "This is association; only an intervention shows what causes what."
        )
    lead = "NO COUPLING after one delay" if said == "no_coupling" else "NOT SHOWN"
    bound = min(_bound(comparison), 1.0)
    return (
        f"{lead} over {trainings} trainings: {what} fit their own run no better than another run's "
        f"(session swap p = {best.p_adjusted:.2g}, {numbers}); the pooled intervals exclude |r| above "
        f"{bound:.2f} after one delay. Slow answers are told by each run alone."
    )


def _too_few(comparison: Comparison) -> str:
    repeated = len(comparison.runs) - len(comparison.counted)
    if len(comparison.counted) < 2:
        repeat = "repeats" if repeated == 1 else "repeat"
        return (
            f"ONE TRAINING, no replication: {repeated} of {len(comparison.runs)} runs {repeat} another's "
            "step series. Together they say no more than one of them; runs of other seeds are needed."
        )
    return "CANNOT TELL: no two of these runs share a training signal and a hardware signal that change."


def _by_p(pair: PairAcross) -> tuple[float, float]:
    p = pair.swap.p
    return (1.0 if math.isnan(p) else p), -abs(pair.swap.r) if math.isfinite(pair.swap.r) else 0.0


def interval(pair: PairAcross) -> str:
    """Return the pooled correlation with its interval."""
    swap = pair.swap
    return f"{swap.r:+.2f} [{swap.r_low:+.2f}, {swap.r_high:+.2f}]"


def change_line(comparison: Comparison) -> str:
    """Return whether the coupling changes within the runs; empty where no run is long enough."""
    pairs = [run.pair for run in comparison.counted if run.pair is not None]
    q = [pair.over_time["q"] for pair in pairs if pair.over_time and math.isfinite(pair.over_time["q"])]
    if not q:
        return ""
    p = float(scipy.special.chdtrc(3 * len(q), sum(q)))
    said = "changes within the runs" if p <= 0.05 else "is not seen to change within the runs"
    return (
        f"Over time: the correlation {said} (Cochran's Q of quarters at each run's own lag, summed over "
        f"{counted(len(q), 'run')}: p = {p:.2g})."
    )


def _at_common_steps(found: Reproducibility) -> str:
    """Return how far the runs are from each other at the steps that all have, and what is not known."""
    known = []
    if found.loss_sd is not None:
        known.append(f"by {found.loss_sd:.3g} in loss")
    if found.norm_factor is not None:
        known.append(f"by a factor of {found.norm_factor:.2f} in gradient norm")
    if not known:
        return "They have no steps with known values in common."
    unknown = {"losses": found.loss_sd, "gradient norms": found.norm_factor}
    missing = "".join(f" No {name} at steps of all runs." for name, sd in unknown.items() if sd is None)
    return (
        f"Over {counted(found.common_steps, 'common step')} runs differ {' and '.join(known)} (median sd)."
        f"{missing}"
    )


def reproducibility_lines(comparison: Comparison) -> list[str]:
    """Return how far the trainings spread, and which of them are one."""
    found = comparison.reproducibility
    known = sum(value is not None for value in found.final_loss.values())
    lines = []
    if found.final_mean is not None:
        spread = "" if found.final_sd is None else f", sd {found.final_sd:.3g}, range {found.final_range:.3g}"
        lines.append(f"{FINAL_LOSS.capitalize()} {found.final_mean:.4g}{spread} ({counted(known, 'run')}).")
    if ended := len(found.final_loss) - known:
        lines.append(f"{counted(ended, 'run')} ended without a finite loss.")
    lines += [_at_common_steps(found)] * (len(comparison.runs) > 1)
    seeds = [run.seed for run in comparison.runs]
    if any(seed is None for seed in seeds):
        lines.append(f"{sum(seed is None for seed in seeds)} of {len(seeds)} runs recorded no seed.")
    repeated = [run for run in comparison.runs if run.repeats is not None]
    if repeated:
        lines.append(
            f"Of {len(comparison.runs)} runs, {len(repeated)} repeat{'s' * (len(repeated) == 1)} another's "
            "training: that shows how deterministic it is, and is no replication; "
            f"{len(comparison.counted)} count."
        )
    return lines
