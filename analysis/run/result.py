"""What the analysis of a run gives: pairs of signals with their verdicts, and all that goes with them."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Method = Literal["rxc", "pearson"]


@dataclass(eq=False)
class Pair:
    """One pair of signals of one device in one family of lags.

    Attributes
    ----------
    x, y, device, family
        What was compared. `family`: "forward" (training leads), "simultaneous", "reverse".
    n
        Grid bins that entered (matched rows for the naive method).
    r, lag_s
        Residual correlation at its peak, and that lag in seconds; lag_s > 0: training leads.
    p, p_adjusted
        Before and after Holm's correction for all pairs of its kind; None where untested.
    half_width
        Simultaneous 95 % bound of the profile around zero.
    pearson_r
        The naive correlation of raw matched values, for comparison only.
    verdict, strength, reasons
        What may be said, and why.
    period_s, lags_s, profile
        Length of a bin; the whole profile of r over lags, for the figure.
    drivers
        What was taken out of both sides, by name.
    columns
        Trend and driver columns that were taken out.
    detectable_r
        The residual correlation that a run of this length, with these drivers and lags, would have
        shown nine times out of ten.
    direct
        The same test with power among the drivers (``r``, ``lag_s``, ``p``, ``half_width``): what is left
        of an effect on temperature without the way through power. None where it was not made.
    over_time
        Residual correlation in the four quarters, and whether they differ (see `change.Change`).
    """

    x: str
    y: str
    device: str
    family: str
    n: int
    r: float
    lag_s: float
    p: float
    p_adjusted: float
    half_width: float
    pearson_r: float
    verdict: str
    strength: str
    reasons: list[str]
    period_s: float = math.nan
    lags_s: list[float] = field(default_factory=list)
    profile: list[float] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    columns: int = 0
    detectable_r: float = math.nan
    direct: dict[str, Any] | None = None
    over_time: dict[str, Any] | None = None

    @property
    def is_speed(self) -> bool:
        """Whether this is speed coupling: expected, the positive control, not the question."""
        return self.x == "step_time_s"

    def _repr_html_(self) -> str:
        from thermograd.analysis.display.profile import pair_html

        return pair_html(self)


@dataclass(eq=False)
class Analysis:
    """What one run says. See DESIGN.md section 6 for the JSON form."""

    run_id: str
    method: Method
    alignment: dict[str, Any]
    pairs: list[Pair]
    controls: dict[str, Any]
    coincidence: dict[str, Any]
    warnings: list[str]
    simulated: list[str]
    smallest_detectable_r: float | None
    sensitivity: dict[str, Any] = field(default_factory=dict)
    onset_tests: list[dict[str, Any]] = field(default_factory=list)
    spike_locked: list[dict[str, Any]] = field(default_factory=list)

    def _repr_html_(self) -> str:
        from thermograd.analysis.display.profile import analysis_html

        return analysis_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of ``analyze --json``; what is not known is null."""
        pairs = []
        for pair in self.pairs:
            entry = asdict(pair)
            for name in ("period_s", "lags_s", "profile"):
                entry.pop(name)
            pairs.append(entry)
        document = {
            "run_id": self.run_id,
            "method": self.method,
            "alignment": self.alignment,
            "pairs": pairs,
            "controls": self.controls,
            "coincidence": self.coincidence,
            "warnings": self.warnings,
            "simulated_devices": self.simulated,
            "smallest_detectable_r": self.smallest_detectable_r,
            "sensitivity": self.sensitivity,
            "onset_tests": self.onset_tests,
            "spike_locked": self.spike_locked,
        }
        finite: dict[str, Any] = _without_nan(document)
        return finite


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
