"""The report as Markdown, for a pull request or an issue: the verdict, key numbers, how to see more.

Text from the run stands between backquotes, where Markdown, HTML and mentions mean nothing; our own
sentences, which may name devices, are escaped.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from thermograd.analysis.display.table import Table, markdown_cell
from thermograd.analysis.fleet.devices.beside import peer_lines
from thermograd.analysis.report.files import writing
from thermograd.analysis.report.given import MOST_TAGS, config_rows
from thermograd.analysis.report.wording import loss_text
from thermograd.analysis.run.energy import energy_doubt, run_energy
from thermograd.analysis.run.experiment.sentences import result_facts
from thermograd.analysis.run.pair import Pair, closest_first, pair_numbers
from thermograd.analysis.run.readings.data_quality import lost_loss
from thermograd.analysis.run.result import Analysis, verdict_sentence
from thermograd.analysis.run.series import RunSeries
from thermograd.analysis.run.statements import event_lines, further_lines, reach_sentence
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.store.events import SEVERITIES, gravity
from thermograd.store.files import write_file
from thermograd.store.runs.steps import on_ranks
from thermograd.store.runs.tags import note_text
from thermograd.store.telling.episodes import Episode, how_often, told_episodes
from thermograd.store.telling.quantities import counted, duration_text, energy_text
from thermograd.store.version import __version__

_MOST_PAIRS = 6
_MOST_EPISODES = 5
_MOST_NOTES = 5
_MOST_VALUES = 100  # of the configuration


def report_markdown(data: RunSeries, analysis: Analysis) -> str:
    """Return a run's report in some thirty lines of GitHub's Markdown."""
    count, account = data.step_time_ns.size, analysis.alignment
    matched = f"{account['matched']:,} of {account['steps']:,} steps within {account['tolerance_s']:g} s"
    known, loss = np.isfinite(data.training("loss")), loss_text(data)
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    severities = {name: sum(a["severity"] == name for a in data.alerts) for name in reversed(SEVERITIES)}
    return _template().render(
        run=data.run,
        generator=f"thermograd {__version__}",
        quoted_id=shlex.quote(data.run.run_id),
        lost=lost_loss(data, of_the_run=True),
        screen=first_screen(analysis),
        heat=analysis.what_heat_cost(),
        sentence=verdict_sentence(analysis),
        simulated=[device.label for device in data.devices.values() if device.simulated],
        steps=f"{count:,}{on_ranks(data.ranks)} in {duration_text(data.training_s)}" if count else "",
        loss=loss and f"{loss} (n = {known.sum():,})",
        devices=list(data.devices.values()),
        matched=matched if count and data.devices else "",
        energies=_energies(data),
        pairs=_pairs(asked).markdown() if asked else "",
        lines=_lines(analysis),
        peers=peer_lines(data.run),
        count=len(data.alerts),
        severities=", ".join(f"{count:,} {name}" for name, count in severities.items() if count),
        episodes=_gravest(data),
        watched=data.watched,
        experiments=[line for each in analysis.experiments for line in result_facts(each)],
        warnings=analysis.warnings,
        **_given(analysis),
    )  # fmt: skip


def _given(analysis: Analysis) -> dict[str, Any]:
    """Return what people gave the run, of much of it the first."""
    rows, more = config_rows(analysis.config, _MOST_VALUES)
    cells = [[code_span(cell) for cell in row] for row in rows]
    return {
        "tags": analysis.tags[:MOST_TAGS],
        "more_tags": len(analysis.tags[MOST_TAGS:]),
        "notes": [note_text(note) for note in analysis.notes[-_MOST_NOTES:]],
        "config": Table({"key": "t", "value": "t"}, cells).markdown() if rows else "",
        "config_counted": counted(len(rows) + more, "value"),
        "more_config": more,
    }


def _gravest(data: RunSeries) -> list[Episode]:
    """Return the gravest episodes of the run's alerts, the gravest first."""
    episodes, _ = told_episodes(data.episodes, _MOST_EPISODES)
    return sorted(episodes, key=lambda episode: -gravity(episode.severity))


def _lines(analysis: Analysis) -> list[str]:
    reach = [text] if (text := reach_sentence(analysis)) else []
    return [*reach, *analysis.recognised, *further_lines(analysis), *event_lines(analysis)]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("thermograd.analysis.report.text"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code_span, "prose": _prose, "cell": markdown_cell, "often": how_often}
    return environment.get_template("run.md")


def write_markdown(data: RunSeries, analysis: Analysis, output: Path | None) -> str:
    """Write the report to a file and return its path as text; without a file return the report itself."""
    text = report_markdown(data, analysis).encode("utf-8", "replace")
    if output is None:
        return text.decode()
    path = output / "report.md" if output.is_dir() else output
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
    return str(path)


def _energies(data: RunSeries) -> dict[str, str]:
    texts = {}
    for energy in run_energy(data):
        text = f"{energy_text(energy.training_j or energy.total_j)} from {energy.source}"
        if energy.mean_per_step_j is not None:
            ends = [energy_text(end) for end in (energy.low_per_step_j, energy.high_per_step_j)]
            spread = f", middle 90 %: {ends[0]} to {ends[1]}" if energy.low_per_step_j is not None else ""
            text += f", {energy_text(energy.mean_per_step_j)} a step (n = {energy.training_steps:,}{spread})"
        doubt = ", **no measurement**: power is a placeholder"
        texts[data.devices[energy.device].label] = text + doubt * bool(energy_doubt(data, energy))
    return texts


def _pairs(pairs: list[Pair]) -> Table:
    rows = [
        (*map(code_span, (pair.x, pair.y, pair.called)), *pair_numbers(pair), pair.verdict.replace("_", " "))
        for pair in closest_first(pairs)[:_MOST_PAIRS]
    ]
    names = "training|hardware|device|n|r|lag or memory|p (Holm)|95 % bound|naive r|verdict"
    return Table(dict.fromkeys(names.split("|"), "t"), rows)


def code_span(text: str) -> str:
    """Return any text as code on one line.

    Examples
    --------
    >>> code_span("a`b")
    '`` a`b ``'
    """
    shown = _one_line(text)[:300] or "-"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    if not longest:
        return f"`{shown}`"
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}"


def _prose(text: str) -> str:
    """Return a sentence, which may name devices, as text that holds no Markdown, HTML or mention."""
    shown = re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", _one_line(text))
    return shown.replace("@", "@\u2060").replace("://", ":\u2060//")


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
