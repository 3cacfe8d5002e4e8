"""The report of a run: one HTML file that needs nothing else, figures for print, the numbers as JSON."""

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.analysis.display.numbers import shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.fleet.devices.beside import peer_lines
from thermograd.analysis.fleet.population.beside import population_lines
from thermograd.analysis.report.data.build_panels import time_origin_ns
from thermograd.analysis.report.data.contents import Contents, prepare
from thermograd.analysis.report.data.panel import Panels, legend_of
from thermograd.analysis.report.data.tables import FORMATS, figure_tables, table_bytes
from thermograd.analysis.report.files import make_directory, read_without, remove_files, write_files
from thermograd.analysis.report.given import given_told
from thermograd.analysis.report.page import run_facts as facts, verdict
from thermograd.analysis.report.page.alerts import alerts_told
from thermograd.analysis.report.page.document import OF_PAGE, build_page, require_extra
from thermograd.analysis.report.page.experiment import experiments_told
from thermograd.analysis.report.page.provenance import queries, versions_text
from thermograd.analysis.report.run_charts import chart_specifications
from thermograd.analysis.report.run_figures import IMAGES, figures_and_stills, shown_in_words
from thermograd.analysis.report.wording import steps_text
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.readings.data_quality import lost_loss
from thermograd.analysis.run.result import (
    Analysis,
    beside_experiment,
    question_verdict,
    shown_verdict,
    verdict_sentence,
)
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.analysis.run.statements import control_lines, event_lines, further_lines
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.store.errors import LogError
from thermograd.store.files import write_json
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.places.shipped import is_mirrored
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.names import result_dir
from thermograd.store.runs.table import VERDICT_FILE
from thermograd.store.telling.quantities import few_of
from thermograd.store.version import __version__

if TYPE_CHECKING:
    from thermograd.analysis.report.charts.paper.style import PrintStyle

_SAID_OF_IT = ("tags", "notes")  # by people, at any time: no figure shows them


def write_report(
    run: Run,
    analysis: Analysis,
    output: Path | None = None,
    data_format: str | None = None,
    series: RunSeries | None = None,
    style: "PrintStyle | None" = None,
    alone: bool = False,
    remember: bool = True,
    figures: bool = True,
) -> dict[str, Path]:
    """Write a run's report; every file appears whole or not at all.

    In the run's own directory, figures and points of an earlier report that this one does not write are
    removed once its analysis says something else: beside this page they would be of another state.

    Parameters
    ----------
    run, analysis
        The run, and what `analyze_run` found in it.
    output
        Directory; default ``report`` in the run's own.
    data_format
        "csv" or "parquet" writes the points of every figure beside it.
    series
        The run's data where they have been read already.
    style
        Size of the printed figures and of their letters.
    alone
        Whether each panel is written as a figure by itself too.
    remember
        Leave the verdict in the run's directory, for the table of runs.
    figures
        Without them the page alone is written, whose charts have no pictures for where no script runs.

    Returns
    -------
    dict
        Paths of ``report`` (HTML) and, with figures, of ``png``, ``pdf``, ``svg`` (the four panels),
        ``lag_png``, ``lag_pdf``, ``lag_svg`` (the closest pair's lag profile, where there is one),
        ``<panel>_png`` and so on, ``data_<panel>`` where asked for, and ``analysis`` (JSON).

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    LogError
        If the directory cannot be written.
    ConfigError
        If the style's height has no room for the panels.
    ValueError
        If the data format is not known.
    """
    if data_format is not None and data_format not in FORMATS:
        raise ValueError(f"data_format is {data_format!r}; expected one of: {', '.join(FORMATS)}")
    require_extra() if figures else require_extra(OF_PAGE)
    directory = output or result_dir(run.path, "report")
    make_directory(directory, "the report")
    series = series or load_series(run)
    contents = prepare(series, analysis)
    drawn, images = figures_and_stills(contents, style, alone) if figures else ({}, {})
    page = report_page(contents, images)
    files: dict[str, Any] = {"report.html": page.encode("utf-8", "replace")} | drawn
    files |= _points(contents, data_format) if data_format else {}
    files["analysis.json"] = analysis.to_json()
    before = read_without(directory / "analysis.json", _SAID_OF_IT)
    write_files(directory, files, "the report")
    if output is None and before not in (None, read_without(directory / "analysis.json", _SAID_OF_IT)):
        remove_files(directory, _drawn_names(contents.panels) - files.keys())
    if remember:
        _remember(run, analysis, series.training_s)
    return {_key(name): directory / name for name in files}


def _remember(run: Run, analysis: Analysis, span_s: float) -> None:
    """Leave the verdict where the table of runs and a run's page look for it, if the run can be written to.

    Of a run at a URL only a mirror is here, whose table goes by the catalogue.
    """
    if is_mirrored(run.path):
        return
    content = {
        "verdict": shown_verdict(analysis),
        "sentence": verdict_sentence(analysis),
        "steps": count_events(run.path, "step"),
        "samples": count_events(run.path, "sample"),
        "screen": first_screen(analysis).to_json() | {"span_s": span_s, "at_ms": time.time_ns() // 10**6},
        "version": __version__,
    }
    with suppress(OSError, LogError):
        folder = result_dir(run.path, "report")
        folder.mkdir(exist_ok=True)
        write_json(folder / VERDICT_FILE, content)


def _drawn_names(panels: Panels) -> set[str]:
    """Return what files of figures and of their points are called, each in every format."""
    keys = [*(panel.key for panel in panels.panels), "throttling"]
    stems = ["figure", "lag_profile", *(f"figure_{key}" for key in keys)]
    return {f"{stem}.{kind}" for stem in stems for kind in (*IMAGES, *FORMATS)}


def _key(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    panel = stem.removeprefix("figure_")
    if kind in IMAGES:
        return kind if stem == "figure" else f"lag_{kind}" if stem == "lag_profile" else f"{panel}_{kind}"
    return stem if stem in ("report", "analysis") else f"data_{panel}"


def _points(contents: Contents, data_format: str) -> dict[str, bytes]:
    tables = figure_tables(contents.panels, contents.analysis)
    return {f"{name}.{data_format}": table_bytes(table, data_format) for name, table in tables.items()}


def report_page(contents: Contents, images: Mapping[str, bytes]) -> str:
    """Return the page, from what `prepare` gave, and pictures of its charts by their names."""
    data, analysis, panels = contents.data, contents.analysis, contents.panels
    return build_page(
        "run.html",
        f"{data.run.name}: thermograd run report",
        chart_specifications(contents),
        stills=images,
        told={name: words.text for name, words in shown_in_words(contents).items()},
        run=data.run,
        length=steps_text(data),
        drawn=bool(images),
        quoted_id=shlex.quote(data.run.run_id),
        **_verdict(data, analysis),
        **experiments_told(analysis),
        **_recording(data, analysis, panels),
        **_charts(contents),
        sql=queries(data.run.run_id),
        versions=versions_text(),
        tolerance_s=analysis.alignment["tolerance_s"],
        recorded_with=data.run.facts.get("thermograd_version"),
    )


def _verdict(data: RunSeries, analysis: Analysis) -> dict[str, Any]:
    simulated = few_of([device.label for device in data.devices.values() if device.simulated])
    return {
        "simulated": simulated,
        "lost": lost_loss(data, of_the_run=True),
        "heat": analysis.what_heat_cost(),
        "screen": first_screen(analysis),
        "verdict_of_question": question_verdict(analysis),
        "sentence": beside_experiment(analysis),
        "sure": verdict.false_alarms(analysis),
        "tested": verdict.tested(analysis),
        "further": further_lines(analysis),
        "controls": verdict.controls_table(analysis),
        "control_lines": control_lines(analysis),
        "naive_example": verdict.naive_example(analysis),
    }


def _recording(data: RunSeries, analysis: Analysis, panels: Panels) -> dict[str, Any]:
    origin_ns, every = time_origin_ns(data), facts.devices_table(data)
    alike = facts.devices_in_groups(every)
    return {
        "facts": facts.run_facts(data, panels.end_s),
        "devices": facts.measuring(alike),
        "lacking": facts.lacking(alike),
        "every_device": every,
        "population": population_lines(data.run),
        "peers": peer_lines(data.run),
        "has_devices": bool(data.devices),
        "watched": data.watched,
        **given_told(analysis),
        **alerts_told(data, origin_ns, panels.end_s),
        "account": analysis.alignment,
        "warnings": analysis.warnings,
        "recognised": analysis.recognised,
        **facts.quality_told(data, origin_ns),
        **facts.energy_told(data),
    }


def _charts(contents: Contents) -> dict[str, Any]:
    panels = contents.panels
    first = [panel for panel in panels.panels if panel.reason and panel in panels.printed]
    absent = [panel for panel in panels.panels if panel.reason and not panel.folded and panel not in first]
    notes = [f"{panel.title}: {note}" for panel in (*panels.shown, *panels.folded) for note in panel.notes]
    notes += [f"Not shown: {panel.title.lower()}. {panel.reason}" for panel in absent]
    return {
        "panels": panels,
        "absent_first": first,
        "lacks": contents.lacks,
        "legends": {"shown": legend_of(panels, panels.shown), "folded": legend_of(panels, panels.folded)},
        "begins": facts.moment_text(panels.origin_ns) if panels.origin_ns else "",
        "notes": notes,
        "pairs": contents.pairs,
        "more_pairs": contents.more_pairs,
        "fading": any(pair.memories_s for _, families in contents.pairs for pair in families),
        "evidence": contents.evidence,
        "spikes": contents.spikes,
        "no_spikes": contents.no_spikes,
        "shown_outcomes": [each.label for each in contents.experiment.tested] if contents.experiment else [],
        "effects": _effects(contents.spikes),
        "events": event_lines(replace(contents.analysis, spike_locked=[])),
    }


def _effects(courses: Sequence[AroundSpikes]) -> Table:
    columns = {"Signal": "i", "Mean change after a spike": "n", "95 % interval": "n", "n spikes": "n"}
    rows = [
        (
            each.label,
            f"{shown_number(each.effect, '+.3g')} {each.unit}".strip(),
            " to ".join(shown_number(end, "+.3g") for end in (each.effect_low, each.effect_high)),
            *(f"{count:,}" for count in (each.n_spikes, each.n_spikes_found, each.n_controls)),
        )
        for each in courses
    ]
    return Table(columns | {"of": "n", "n quiet windows": "n"}, rows, "Change after a spike")
