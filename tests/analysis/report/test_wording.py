"""What a report says in words is true of little data too, and looks as print should."""

import numpy as np
import pytest
from synthetic import make_run
from thermograd.analysis.coupling.verdict import gates
from thermograd.analysis.display.markup import element, typeset
from thermograd.analysis.report.charts.timeline import panels_chart
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.page.provenance import queries_across
from thermograd.analysis.report.page.run_facts import _detail, devices_table
from thermograd.analysis.report.text.analysis import _spikes_found
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run


def test_control_characters_of_a_name_are_replaced_and_lines_stay() -> None:
    assert element("p", "GPU\x1b[31m\x9b\n<b>") == "<p>GPU\ufffd[31m\ufffd\n&lt;b&gt;</p>"


def test_minus_signs_are_true_ones_and_hyphens_stay() -> None:
    assert typeset("r = -0.21 at lag -3 s, a-1, 95 %") == "r = −0.21 at lag −3 s, a-1, 95\u00a0%"


def test_fault_that_only_the_loss_showed_counts_as_found() -> None:
    marks = [{"mark": "injection", "step": step} for step in (10, 20, 30)]
    alerts = [
        {"alert": alert, "step": step}
        for alert, step in (("spike.grad", 10), ("spike.loss", 21), ("spike.loss", 40), ("nan.loss", 30))
    ]
    assert _spikes_found(marks, alerts) == (
        "2 of 3 injected bad batches found (steps 10: gradient norm, 20: loss, 30: none); "
        "1 other step with a spike alert (in step 40)"
    )
    alerts += [{"alert": "spike.grad", "step": step} for step in (50, 60)]
    assert _spikes_found(marks, alerts).endswith(
        "; 3 other steps with a spike alert (in steps 40, 50 and 60)"
    )
    assert _spikes_found(marks[:1], alerts[:1]) == (
        "1 of 1 injected bad batches found (step 10: gradient norm); 0 other steps with a spike alert"
    )


def test_device_of_nan_readings_measures_nothing_and_its_panels_have_a_range(tmp_path) -> None:
    run = create_run(tmp_path, "nothing", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "writer")
    for k in range(5):
        writer.append("step", k * 10**9, step=k + 1, loss=np.nan, grad_norm=np.nan)
        writer.append("sample", k * 10**9, device="gpu", temperature_c=np.nan)
    writer.close()
    data = load_series(run)
    panels = build_panels(data)
    assert devices_table(data).rows[0][2] == "nothing"
    chart = panels_chart(panels)
    assert chart is not None
    assert chart["vconcat"][0]["layer"][0]["encoding"]["y"]["scale"] == {"domain": [0, 1]}


def test_injected_fault_stands_on_loss_and_norm(tmp_path) -> None:
    panels = build_panels(load_series(make_run(tmp_path, injections=[200]))).panels
    marked = {panel.key for panel in panels for mark in panel.marks if mark.kind == "injection"}
    assert marked == {"loss", "grad_norm"}


@pytest.mark.parametrize(("bins", "said"), [(0, "No bin holds both"), (1, "Only 1 bin holds both")])
def test_few_bins_are_told_in_the_right_number(bins: int, said: str) -> None:
    values = np.arange(float(bins))
    assert gates(values, values)[0].startswith(said)


def test_queries_across_runs_quote_their_ids() -> None:
    assert all("IN ('a''b', 'c')" in sql for sql in queries_across(["a'b", "c"]).values())


def test_counts_of_an_account_are_in_their_number() -> None:
    assert _detail('{"ticks": 1, "failed_reads": 2, "missed_ticks": 1, "own": 1}') == (
        "1 reading of all devices, 2 readings that failed, 1 sampling tick missed, 1 own"
    )
