"""The charts of a run: as specifications for its page, and as Altair charts to be shown elsewhere."""

from typing import TYPE_CHECKING

from thermograd.analysis.report.alt.run import Words, simulated_words
from thermograd.analysis.report.data.contents import Contents, prepare
from thermograd.analysis.report.page.document import OF_CHARTS, require_extra
from thermograd.analysis.report.run_figures import shown_in_words
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import printable

if TYPE_CHECKING:
    import altair as alt
    from thermograd.analysis.report.charts.altair_charts import Choice
    from thermograd.analysis.report.charts.style import Spec
    from thermograd.analysis.report.charts.theme import Theme

_LONGEST_NAME = 80
_TITLES = {
    "timeline": "training and hardware on one clock",
    "more": "more signals on the same clock",
    "lag": "residual correlation over lag",
    "cross": "values against each other",
    "memory": "autocorrelation",
    "spikes": "after a spike of the gradient norm",
    "blocks": "the experiment over time",
    "found": "effects, and what chance gives",
}


def run_charts(
    run: Run,
    analysis: Analysis | None = None,
    series: RunSeries | None = None,
    look: "Theme" = "light",
) -> "dict[str, alt.LayerChart | alt.ConcatChart | alt.VConcatChart]":
    """Return the charts of a run's report as Altair charts, each with its data, to show, restyle or save.

    A chart says in its title of which run it is, and whether the hardware is simulated; where it shows one
    of several pairs of signals, a menu below it chooses.

    Parameters
    ----------
    run
        The run.
    analysis
        What `analyze_run` found in it; left out, it is analysed now.
    series
        The run's data where they have been read already.
    look
        "light" or "dark" colours, on the page's ground.

    Returns
    -------
    dict
        By name what the run has: ``timeline`` (loss, gradient norm, devices, alerts), ``more`` (what the page
        folds away), ``lag``, ``cross`` and ``memory`` (the tested pairs), ``spikes`` (devices after a spike),
        ``blocks`` and ``found`` (an experiment).

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    ValueError
        If the look is not known.

    Examples
    --------
    In a notebook, where the last line of a cell is shown, and into a file for a paper::

        charts = run_charts(find_run(Path("runs"), "latest"))
        charts["lag"].configure_axis(labelFontSize=14).save("lag.svg")
        charts["timeline"]
    """
    if look not in ("light", "dark"):
        raise ValueError(f"look is {look!r}; expected one of: light, dark")
    require_extra(OF_CHARTS, "a run's charts need")
    from thermograd.analysis.report.charts.altair_charts import altair_chart
    from thermograd.analysis.run.analyze import analyze_run

    series = series or load_series(run)
    contents = prepare(series, analysis or analyze_run(run, series=series))
    told = shown_in_words(contents)
    told |= {"timeline": told["panels"]}
    stamp = simulated_words(contents.data).removesuffix(". ")
    name = printable(run.name, _LONGEST_NAME)
    return {
        key: altair_chart(
            spec, Words(f"{name}: {_TITLES[key]}", told[key].text), stamp, _choice(key, contents), look
        )
        for key, spec in chart_specifications(contents).items()
        if spec is not None
    }


def _choice(key: str, contents: Contents) -> "Choice | None":
    from thermograd.analysis.report.charts.altair_charts import Choice

    labels = [label for label, _ in contents.pairs]
    if key == "lag":
        return Choice("pair", dict(enumerate(labels)))
    if key in ("cross", "memory"):
        return Choice("pair", {each.place: labels[each.place] for each in contents.evidence})
    if key == "spikes":
        return Choice("which", dict(enumerate(each.label for each in contents.spikes)), is_named=True)
    if key == "found" and contents.experiment is not None:
        tested = contents.experiment.tested
        is_named = any(each.effect.response is not None for each in tested)
        return Choice("outcome", dict(enumerate(each.label for each in tested)), is_named)
    return None


def chart_specifications(contents: Contents) -> "dict[str, Spec | None]":
    """Return the page's charts by name, as Vega-Lite specifications; None where nothing is drawn."""
    from thermograd.analysis.report.charts.experiment import blocks_chart, found_chart
    from thermograd.analysis.report.charts.pairs import cross_chart, lag_chart, memory_chart, spikes_chart
    from thermograd.analysis.report.charts.timeline import folded_chart, panels_chart

    charts = {
        "timeline": panels_chart(contents.panels),
        "more": folded_chart(contents.panels),
        "lag": lag_chart(contents.pairs),
        "cross": cross_chart(contents.evidence),
        "memory": memory_chart(contents.evidence),
        "spikes": spikes_chart(contents.spikes),
    }
    if contents.experiment is not None:
        charts["blocks"] = blocks_chart(contents.experiment, contents.panels)
        charts["found"] = found_chart(contents.experiment)
    return charts
