"""A loss that is no finite number any more is said on the page, in Markdown and by `analyze`."""

import math

import pytest
from report_page import page_of
from thermograd.analysis.report.text.analysis import describe_analysis
from thermograd.analysis.report.text.markdown import report_markdown
from thermograd.analysis.report.wording import loss_text
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.readings.data_quality import lost_loss
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

SINCE = "since step 4 (last finite 1.725 at step 3)"


def losing(runs, losses):
    run = create_run(runs, "lost")
    writer = EventWriter(run.path, run.run_id, "w")
    for step, loss in enumerate(losses, 1):
        writer.append("step", step * 10**9, 0, step=step, rank=0, loss=loss)
    writer.close()
    return run


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.308, 2.0, 1.725, math.nan, math.nan], f"2.308 to NaN: not a finite number {SINCE}"),
        ([2.308, 2.0, 1.725, math.inf], f"2.308 to inf: not a finite number {SINCE}"),
        ([2.308, math.nan, 1.725, math.nan, -math.inf], f"2.308 to -inf: not a finite number {SINCE}"),
        ([2.308, 2.0, 1.725, math.nan, None], f"2.308 to NaN: not a finite number {SINCE}"),
        ([math.nan, math.nan], "NaN to NaN: never a finite number"),
        ([2.308, math.nan, 1.725], "2.308 to 1.725"),  # it recovered
        ([2.308, 1.725, None, None], "2.308 to 1.725"),  # not recorded is not lost
        ([None, None], ""),
        ([], ""),
    ],
)
def test_the_end_of_the_loss_is_what_was_recorded_last(tmp_path, losses, said):
    data = load_series(losing(tmp_path, losses))
    assert loss_text(data) == said
    assert bool(lost_loss(data)) == ("finite" in said)


def test_each_surface_says_it_and_says_nothing_of_a_run_that_is_well(tmp_path):
    pytest.importorskip("vl_convert")
    sentence = f"The loss has not been a finite number {SINCE}."
    for losses, times in (([2.308, 2.0, 1.725, *[math.nan] * 6], 1), ([2.0, math.nan, 1.0], 0)):
        run = losing(tmp_path, losses)
        found = analyze_run(run)
        page = page_of(run, found).text
        assert (sentence in page.partition("Do training and hardware move together?")[0]) == times
        assert describe_analysis(found).count(sentence) == times
        markdown = report_markdown(load_series(run), found)
        assert (f"**{sentence}**" in "\n".join(markdown.splitlines()[:4])) == times


def test_the_page_names_only_the_files_that_lie_beside_it(tmp_path):
    pytest.importorskip("vl_convert")
    page = page_of(losing(tmp_path, [2.0, 1.0]), None).text
    assert "Beside this page: figure as PNG" in page
