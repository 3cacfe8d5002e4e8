"""The report as Markdown, for a pull request or an issue: the verdict, key numbers, how to see more.

Text from the run stands between backquotes, where Markdown, HTML and mentions mean nothing.
"""

import re
import shlex
from pathlib import Path
from typing import Any

from thermograd.analysis.display.numbers import bound_text, duration_text, energy_text, shown_number
from thermograd.analysis.report.data.marks import SEVERITIES, severity_rank
from thermograd.analysis.run.energy import energy_doubt, run_energy
from thermograd.analysis.run.result import Analysis, Pair, closest_first, verdict_sentence
from thermograd.analysis.run.series import RunSeries
from thermograd.analysis.run.wording import event_lines, further_lines, reach_sentence
from thermograd.store.errors import LogError
from thermograd.store.files import write_file
from thermograd.store.version import __version__

_MOST_PAIRS = 6
_MOST_ALERTS = 5


def report_markdown(data: RunSeries, analysis: Analysis) -> str:
    """Return a run's report in some thirty lines of GitHub's Markdown.

    Parameters
    ----------
    data, analysis
        The run, and what `analyze_run` found in it.
    """
    simulated = [device.name for device in data.devices.values() if device.simulated]
    lines = [
        f"### thermograd: {code_span(data.run.name)}",
        "",
        f"**{_prose(verdict_sentence(analysis))}**",
        "",
    ]
    if simulated:
        lines += [f"> **Simulated hardware**: {', '.join(map(code_span, simulated))}", ""]
    lines += [table_markdown(("", ""), _facts(data, analysis)), ""]
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    if asked:
        lines += ["Closest pairs of signals; lag above 0: the training leads.", "", _pairs(asked), ""]
    beside = [*filter(None, [reach_sentence(analysis)]), *further_lines(analysis), *event_lines(analysis)]
    lines += [*(f"- {_prose(text)}" for text in beside), *([""] if beside else [])]
    lines += [*_alerts(data), *_warnings(analysis)]
    run_id = shlex.quote(data.run.run_id)
    lines += [
        f"Again: {code_span(f'thermograd analyze {run_id}')}, whole report: "
        f"{code_span(f'thermograd report {run_id}')} (thermograd {__version__}). It is "
        f"association; only an intervention shows a cause.",
        "",
    ]
    return "\n".join(lines)


def write_markdown(data: RunSeries, analysis: Analysis, output: Path | None) -> str:
    """Write the report to a file and return its path as text; without a file return the report itself.

    Raises
    ------
    LogError
        If the file cannot be written.
    """
    text = report_markdown(data, analysis)
    if output is None:
        return text.encode("utf-8", "replace").decode()
    path = output / "report.md" if output.is_dir() else output
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise LogError(f"cannot write {path}: {error.strerror or error}") from error
    return str(path)


def _facts(data: RunSeries, analysis: Analysis) -> list[tuple[str, str]]:
    account = analysis.alignment
    count = data.step_time_ns.size
    span = (int(data.step_time_ns[-1]) - int(data.step_time_ns[0])) / 1e9 if count else 0.0
    rows = [
        ("run", code_span(data.run.run_id)),
        ("steps", f"{count:,} in {duration_text(span)}" if count else "none"),
    ]
    loss = data.training("loss")
    known = loss[loss == loss]
    if known.size > 1:
        rows.append(("loss", f"{known[0]:.4g} to {known[-1]:.4g} (n = {known.size:,})"))
    devices = [
        f"{code_span(d.name)}{' (simulated)' * d.simulated}, n = {d.time_ns.size:,}"
        for d in data.devices.values()
    ]
    rows.append(("devices, samples", "; ".join(devices) or "none sampled"))
    if count and data.devices:
        text = f"{account['matched']:,} of {account['steps']:,} steps within {account['tolerance_s']:g} s"
        rows.append(("matched", text))
    for energy in run_energy(data):
        low, high = energy.low_per_step_j, energy.high_per_step_j
        text = f"{energy_text(energy.training_j or energy.total_j)} from {energy.source}"
        if energy.mean_per_step_j is not None:
            text += f", {energy_text(energy.mean_per_step_j)} a step (n = {count:,}"
            spread = f", middle 90 %: {energy_text(low)} to {energy_text(high)}"
            text += (spread if low is not None else "") + ")"
        text += ", **no measurement**: power is a placeholder" * bool(energy_doubt(data, energy))
        rows.append((f"energy of {code_span(energy.device)}", text))
    return rows


def _pairs(pairs: list[Pair]) -> str:
    header = (
        "training",
        "hardware",
        "device",
        "n",
        "r",
        "lag, s",
        "p (Holm)",
        "95 % bound",
        "naive r",
        "verdict",
    )
    rows = [
        (
            code_span(pair.x),
            code_span(pair.y),
            code_span(pair.device),
            f"{pair.n:,}",
            shown_number(pair.r, "+.2f"),
            shown_number(pair.lag_s, "+.1f"),
            shown_number(pair.p_adjusted, ".2g"),
            bound_text(pair.half_width),
            shown_number(pair.pearson_r, "+.2f"),
            pair.verdict.replace("_", " "),
        )
        for pair in closest_first(pairs)[:_MOST_PAIRS]
    ]
    return table_markdown(header, rows)


def _alerts(data: RunSeries) -> list[str]:
    if not data.alerts:
        if data.watched:
            return ["No alert was raised.", ""]
        replay = code_span(f"thermograd replay {shlex.quote(data.run.run_id)}")
        return [
            f"No alert was recorded: nothing watched this run. {replay} shows what it would have raised.",
            "",
        ]
    counts = {name: sum(a["severity"] == name for a in data.alerts) for name in SEVERITIES}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    worst = sorted(data.alerts, key=severity_rank)[:_MOST_ALERTS]
    lines = [f"- {code_span(str(a['alert']))}: {code_span(str(a['message'] or ''))}" for a in worst]
    return [f"Alerts: {len(data.alerts):,} ({told or 'of unknown severity'}). The worst:", "", *lines, ""]


def _warnings(analysis: Analysis) -> list[str]:
    if not analysis.warnings:
        return []
    lines = [f"- {_prose(warning)}" for warning in analysis.warnings]
    return ["<details><summary>Quality of the data</summary>", "", *lines, "", "</details>", ""]


def table_markdown(header: tuple[str, ...], rows: list[Any]) -> str:
    """Return a table; cells are Markdown already, made with `code_span` where they are foreign."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code_span(text: str) -> str:
    """Return any text as code on one line.

    Examples
    --------
    >>> code_span("a`b")
    '`` a`b ``'
    """
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:300] or "-"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    if not longest:
        return f"`{shown}`"
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}"


def _prose(text: str) -> str:
    """Return a sentence, which may name devices, as text that holds no Markdown, HTML or mention."""
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    shown = re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", shown)
    return shown.replace("@", "@\u2060").replace("://", ":\u2060//")
