"""What a finished run says: alignment, statistics, verdicts, figures, report."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "align": "asof causal_grid interval_mean nearest",
        "calibration.calibrate": "calibrate",
        "comparison.compare": "compare_runs",
        "coupling": "naive_pearson residual_cross_correlation session_swap",
        "coupling.detectable": "samples_needed smallest_detectable",
        "coupling.verdict": "verdict",
        "event_study.coincidence": "event_coincidence",
        "event_study.onsets": "onset_test",
        "event_study.triggered_average": "event_triggered_average",
        "report.run_charts": "run_charts",
        "report.run_report": "write_report",
        "run.analyze": "analyze_run",
        "run.pair": "Pair",
        "run.result": "Analysis",
        "run.series": "load_series",
    },
)

if TYPE_CHECKING:
    from thermograd.analysis.align import (
        asof as asof,
        causal_grid as causal_grid,
        interval_mean as interval_mean,
        nearest as nearest,
    )
    from thermograd.analysis.calibration.calibrate import calibrate as calibrate
    from thermograd.analysis.comparison.compare import compare_runs as compare_runs
    from thermograd.analysis.coupling import (
        naive_pearson as naive_pearson,
        residual_cross_correlation as residual_cross_correlation,
        samples_needed as samples_needed,
        session_swap as session_swap,
        smallest_detectable as smallest_detectable,
    )
    from thermograd.analysis.coupling.verdict import verdict as verdict
    from thermograd.analysis.event_study.coincidence import event_coincidence as event_coincidence
    from thermograd.analysis.event_study.onsets import onset_test as onset_test
    from thermograd.analysis.event_study.triggered_average import (
        event_triggered_average as event_triggered_average,
    )
    from thermograd.analysis.report.run_charts import run_charts as run_charts
    from thermograd.analysis.report.run_report import write_report as write_report
    from thermograd.analysis.run.analyze import analyze_run as analyze_run
    from thermograd.analysis.run.pair import Pair as Pair
    from thermograd.analysis.run.result import Analysis as Analysis
    from thermograd.analysis.run.series import load_series as load_series
