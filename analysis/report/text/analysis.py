"""Results as text for a terminal: tables, facts of a run, and the verdict in words."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermograd.analysis.display.numbers import DASH
from thermograd.analysis.report.wording import reasons
from thermograd.analysis.run.experiment.sentences import result_facts
from thermograd.analysis.run.pair import Pair, answer_text, most_telling
from thermograd.analysis.run.result import Analysis, verdict_sentence
from thermograd.analysis.run.statements import (
    control_lines,
    event_lines,
    further_lines,
    reach_sentence,
    speed_sentence,
)
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.steps import on_ranks
from thermograd.store.telling.quantities import counted, plural
from thermograd.store.text import table_text

_MOST_PAIRS = 40  # rows of a table: of 64 devices there are a thousand


def describe_analysis(analysis: Analysis) -> str:
    """Return an analysis as text: the verdict in plain words, then what heat cost and the numbers."""
    a = analysis.alignment
    steps = f"{a['matched']} of {a['steps']} steps{on_ranks(a['ranks'])}"
    matched = f"{steps} have a sample within {a['tolerance_s']:g} s"
    lines = [
        first_screen(analysis).text(),
        "",
        *analysis.what_heat_cost(),
        "",
        verdict_sentence(analysis),
        "",
        f"Run {analysis.run_id}: {matched}.",
    ]
    lines += [f"  left out: {count} steps, {reason}" for reason, count in a["dropped"].items()]
    for result in analysis.experiments:
        lines += ["", "Experiment (randomised)", *(f"  {line}" for line in result_facts(result))]
    for title, speed in (("Optimisation coupling (the question)", False), ("Speed coupling (control)", True)):
        pairs = [pair for pair in analysis.pairs if pair.is_speed == speed]
        if pairs:
            lines += ["", title, _pairs_table(analysis, pairs)]
            lines += [text] if speed and (text := speed_sentence(analysis)) else []
    explained = [p for p in most_telling(analysis.pairs) if p.verdict not in ("inconclusive", "no_coupling")]
    if explained and analysis.method == "rxc":
        lines += ["", *reasons(explained, lambda pair: f"{pair.x} ~ {pair.y} ({pair.called})")]
    for title, said in (
        ("What this run could have shown", [text] if (text := reach_sentence(analysis)) else []),
        ("Recognised in the readings", analysis.recognised),
        ("More on coupled pairs", further_lines(analysis)),
        ("Events", event_lines(analysis)),
        ("Controls (where they match, it is trend)", control_lines(analysis)),
    ):
        if said:
            lines += ["", title, *(f"  {line}" for line in said)]
    if analysis.warnings:
        lines += ["", "Warnings", *(f"  {warning}" for warning in analysis.warnings)]
    return "\n".join(lines)


def _pairs_table(analysis: Analysis, pairs: list[Pair]) -> str:
    if analysis.method == "pearson":
        header = ["x", "y", "device", "n", "pearson_r"]
        return table_text(header, [[p.x, p.y, p.called, p.n, p.pearson_r] for p in pairs])
    header = ["x", "y", "device", "verdict", "n", "r", "answers", "p_adj", "bound", "naive r"]
    rows = [
        [
            *(p.x, p.y, p.called, p.verdict, p.n),
            *(_short(p.r), answer_text(p).replace("−", "-").replace(DASH, "-")),
            f"<={_short(p.p_adjusted)}" if p.p_sign == "<=" else _short(p.p_adjusted),
            *map(_short, (p.peak_half_width, p.pearson_r)),
        ]
        for p in most_telling(pairs)
    ]
    more = len(rows) - _MOST_PAIRS
    table = table_text(header, rows[:_MOST_PAIRS])
    return table + (f"\nand {counted(more, 'pair')} more: --json lists every one" if more > 0 else "")


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def demo_summary(run: Run, analysis: Analysis, paths: Mapping[str, Path], beside: str) -> str:
    """Return the last screen of the demo: what was trained and found, `beside` it, where the report is."""
    from thermograd.analysis.run.series import load_series

    data = load_series(run)
    loss = data.training("loss")
    lines = []
    if loss.size:
        lines.append(f"Loss      {loss[0]:.3f} at step 1, {loss[-1]:.3f} at step {loss.size}")
        lines.append(f"Spikes    {_spikes_found(data.marks, data.alerts)}")
    for device in data.devices.values():
        label = "SIMULATED, " if device.simulated else ""
        lines.append(f"Device    {device.label}: {label}{counted(len(device.time_ns), 'sample')}")
    verdict = textwrap.fill(verdict_sentence(analysis), 79)
    lines += ["", first_screen(analysis).text(), "", verdict, "", beside, "", f"Report    {paths['report']}"]
    return "\n".join(lines)


_SPIKES = {"spike.grad": "gradient norm", "spike.loss": "loss"}


def _spikes_found(marks: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> str:
    """Return which injected faults raised a spike alert of either signal, and which other steps did."""
    injected = [m["step"] for m in marks if m["mark"] == "injection" and m["step"] is not None]
    raised = [(a["step"], _SPIKES[a["alert"]]) for a in alerts if a["alert"] in _SPIKES and a["step"]]
    found = {
        step: " and ".join(sorted({name for at, name in raised if step <= at <= step + 1}))
        for step in injected
    }
    shown = ", ".join(f"{step}: {names or 'none'}" for step, names in found.items()) or "none"
    other = sorted({at for at, _ in raised if not any(step <= at <= step + 1 for step in injected)})
    steps = f"{plural(len(injected), 'step')} {shown}"
    text = f"{sum(map(bool, found.values()))} of {len(injected)} injected bad batches found ({steps})"
    return f"{text}; {counted(len(other), 'other step')} with a spike alert" + (
        f" (in {_steps(other)})" if other else ""
    )


def _steps(steps: list[int]) -> str:
    *before, last = map(str, steps)
    return f"steps {', '.join(before)} and {last}" if before else f"step {last}"
