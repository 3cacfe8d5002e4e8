"""The card of a run: what is known at once, then the verdict of its analysis."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.incident.incident import run_incident
from thermograd.analysis.run.incident.result import HEATED, Incident
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import load_series
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.store.card.switch import card_is_wanted
from thermograd.store.card.tally import BrokenSteps
from thermograd.store.card.text import (
    CardFacts,
    card_lines,
    facts_of,
    spikes_of,
    throttled_by,
)
from thermograd.store.console import echo
from thermograd.store.events import was_watched
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

_SETTLING_S = 3.0  # an agent that ends may still write
_POLL_S = 0.05


def card_of_run(
    run: Run, incident: Incident, verdict: str | None = None, report: str | None = None
) -> CardFacts:
    """Return what the card of a run says.

    Parameters
    ----------
    run, incident
        The run, and what heat cost it.
    verdict
        The sentence of its analysis; None where there has been none.
    report
        Where the report is; by default the command that makes it.
    """
    alerts = read_kind(run.path, "alert").to_pylist()
    energy, shares = incident.energy, incident.shares
    facts = facts_of(run) | ({"report": report} if report else {})
    return CardFacts(
        **facts,
        verdict=verdict,
        watched=bool(alerts) or was_watched(read_kind(run.path, "mark").to_pylist()),
        devices=len(incident.devices),
        noun="GPU" if incident.accelerators else "device",
        simulated=incident.simulated,
        recorded_s=incident.recorded_s,
        throttled_share=shares[HEATED],
        throttled_by=throttled_by(shares["thermal"], shares["brake"]),
        why_unknown=next((each.why_unknown for each in incident.devices if each.why_unknown), ""),
        energy_j=None if energy is None else energy.total_j,
        energy_devices=0 if energy is None else energy.devices,
        energy_doubt="" if energy is None else "; ".join(energy.doubts),
        **spikes_of(alerts),
        **_broken_steps(run),
    )


def _broken_steps(run: Run) -> dict[str, Any]:
    broken = BrokenSteps()
    table = read_kind(run.path, "step").select(["writer", "step", "loss", "grad_norm"])
    finite = [pc.fill_null(pc.is_finite(table[name]), True) for name in ("loss", "grad_norm")]
    for values in table.filter(pc.invert(pc.and_(*finite))).to_pylist():
        broken.take(values["writer"], values)
    return broken.facts()


def cards_of(run: Run, with_verdict: bool) -> Iterator[list[str]]:
    """Yield the lines of a run's card as soon as they are known, then those with the verdict."""
    until_s = time.monotonic() + _SETTLING_S
    while run.live_writers() and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    data = load_series(run)
    facts = card_of_run(run, run_incident(data))
    yield card_lines(facts)
    if with_verdict and facts.steps:
        analysis = analyze_run(run, series=data)
        yield card_lines(replace(facts, verdict=plain_verdict(analysis)[0]))


def plain_verdict(analysis: Analysis) -> tuple[str, str]:
    """Return the verdict of a run in one sentence, and which it is."""
    screen = first_screen(analysis)
    return screen.sentence, screen.verdict


def tell_card(run: Run, analysis: Analysis, report: str) -> None:
    """Print the card of a run that has been analysed on stderr, unless none is wanted."""
    if analysis.incident is not None and card_is_wanted():
        facts = card_of_run(run, analysis.incident, plain_verdict(analysis)[0], report)
        echo("\n".join(card_lines(facts)), err=True)
