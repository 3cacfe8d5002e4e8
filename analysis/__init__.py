"""What a finished run says: alignment, statistics, verdicts, figures, report."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.analysis.align import asof, causal_grid, interval_mean, nearest
    from thermograd.analysis.calibration.calibrate import calibrate
    from thermograd.analysis.comparison.compare import compare_runs
    from thermograd.analysis.coupling import (
        naive_pearson,
        residual_cross_correlation,
        samples_needed,
        session_swap,
        smallest_detectable,
    )
    from thermograd.analysis.coupling.verdict import verdict
    from thermograd.analysis.event_study import event_coincidence, event_triggered_average, onset_test
    from thermograd.analysis.report.run_report import write_report
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.result import Analysis, Pair
    from thermograd.analysis.run.series import load_series
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.analysis.align": "asof causal_grid interval_mean nearest",
            "thermograd.analysis.calibration.calibrate": "calibrate",
            "thermograd.analysis.comparison.compare": "compare_runs",
            "thermograd.analysis.coupling": (
                "naive_pearson residual_cross_correlation samples_needed session_swap smallest_detectable"
            ),
            "thermograd.analysis.coupling.verdict": "verdict",
            "thermograd.analysis.event_study": "event_coincidence event_triggered_average onset_test",
            "thermograd.analysis.report.run_report": "write_report",
            "thermograd.analysis.run.analyze": "analyze_run",
            "thermograd.analysis.run.result": "Analysis Pair",
            "thermograd.analysis.run.series": "load_series",
        },
    )

__all__ = [
    "Analysis",
    "Pair",
    "analyze_run",
    "asof",
    "calibrate",
    "causal_grid",
    "compare_runs",
    "event_coincidence",
    "event_triggered_average",
    "interval_mean",
    "load_series",
    "naive_pearson",
    "nearest",
    "onset_test",
    "residual_cross_correlation",
    "samples_needed",
    "session_swap",
    "smallest_detectable",
    "verdict",
    "write_report",
]
