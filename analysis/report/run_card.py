"""The card of a run as a file: what it shows, and writing it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.panel import Panel, Panels
from thermograd.analysis.report.files import make_directory, write_files
from thermograd.analysis.report.page.document import require_extra
from thermograd.analysis.report.text.card import card_of_run, plain_verdict
from thermograd.analysis.report.throttled_time import heat_spans
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries
from thermograd.store.card.text import CardFacts, short_facts
from thermograd.store.errors import LogError
from thermograd.store.telling.quantities import counted, duration_text

if TYPE_CHECKING:
    from thermograd.analysis.report.charts.card import PanelShown

_LONGEST_NAME = 36
_BUCKETS = 500
_TRAINING = ("grad_norm", "loss")
_HARDWARE = ("temperature_c", "power_w", "sm_clock_mhz", "throttled_ratio", "utilization_pct")


def write_card(data: RunSeries, analysis: Analysis, path: Path) -> None:
    """Write the card of a run, a PNG of 1200 x 630 pixels, whole or not at all.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    LogError
        If the file cannot be written, or is none of PNG by its name.
    """
    if path.suffix.lower() != ".png":
        raise LogError(f"--card is {str(path)!r}; allowed: a file that ends in .png")
    require_extra()
    make_directory(path.absolute().parent, "the card")
    write_files(path.absolute().parent, {path.name: card_png(data, analysis)}, "the card")


def card_png(data: RunSeries, analysis: Analysis) -> bytes:
    """Return the card of a run that has been analysed."""
    from thermograd.analysis.report.charts.card import card_picture

    assert analysis.incident is not None
    facts = card_of_run(data.run, analysis.incident)
    panels = build_panels(data, _BUCKETS)
    sentence, verdict = plain_verdict(analysis)
    simulated = any(device.simulated for device in data.devices.values())
    shown = panels_shown(data, panels)
    return card_picture(sentence, verdict, _about(data, facts), simulated, shown, panels, short_facts(facts))


def _about(data: RunSeries, facts: CardFacts) -> str:
    """Return which run it is: what it is called, how it ended, how long it was."""
    from thermograd.analysis.report.charts.picture import can_be_read

    name = data.run.name if can_be_read(data.run.name) else data.run.run_id
    length = f" in {duration_text(data.training_s)}" if data.training_s > 0 else ""
    state = [] if facts.state == "simulated" else [facts.state]
    devices = [counted(facts.devices, facts.noun)] if facts.devices else []
    told = [without_middle(name, _LONGEST_NAME), *state, f"{facts.steps_text}{length}", *devices]
    return " · ".join(told)


def panels_shown(data: RunSeries, panels: Panels) -> "list[PanelShown]":
    """Return the norm (or loss) and the temperature (or what else is measured), with the throttled time."""
    from thermograd.analysis.report.charts.card import PanelShown

    heat = heat_spans(list(data.devices.values()), panels.origin_ns, panels.end_s)
    hardware = _first(panels, _HARDWARE)
    return [
        PanelShown(_first(panels, _TRAINING)),
        PanelShown(hardware, _whose(hardware, panels), heat),
    ]


def _first(panels: Panels, keys: Sequence[str]) -> Panel:
    by_key = {panel.key: panel for panel in panels.panels}
    known = [by_key[key] for key in keys if key in by_key]
    return next((panel for panel in known if not panel.reason), known[0])


def _whose(panel: Panel, panels: Panels) -> str:
    if panel.reason or panel.band is not None:
        return panel.band.label if panel.band else ""
    devices = list(dict.fromkeys(line.device for line in panel.lines if line.device is not None))
    return panels.devices.get(devices[0], devices[0]) if len(devices) == 1 else f"{len(devices)} devices"
