"""The badge of a run's page: in which state the run is, and why, in whatever words."""

from pathlib import Path

from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run


def test_the_badge_says_why_a_run_failed_and_takes_no_markup(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "h-r0-1-ab12cd")
    writer.append("step", step=1, loss=1.0, rank=0)
    writer.close({"state": "failed", "exception": "ValueError", "message": "<script>alert(1)</script>"})
    page = write_report(run, analyze_run(run))["report"].read_text()
    shown = "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;"
    assert f'<span class="badge failed">failed: {shown}</span>' in page
    assert "<script>alert(1)" not in page
