"""What the report of a run shows, read and computed once."""

from dataclasses import dataclass

from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.report.data.experiment import ShownExperiment
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries


@dataclass(frozen=True, eq=False)
class Contents:
    """What a report shows: the run, what was found in it, and what is drawn."""

    data: RunSeries
    analysis: Analysis
    panels: Panels
    pairs: list[tuple[str, list[Pair]]]
    evidence: list[Evidence]
    spikes: list[AroundSpikes]
    no_spikes: str
    more_pairs: int
    experiment: ShownExperiment | None = None

    @property
    def lacks(self) -> str:
        """What no device of the run measures, where others are drawn instead; empty for nothing."""
        panels = self.panels
        absent = [panel.title.lower().replace("rle", "RLE") for panel in panels.replaced]
        drawn = [panel.title.lower() for panel in panels.printed[-2:]]
        told = f"Not measured here: {' and '.join(absent)}; drawn instead: {' and '.join(drawn)}."
        return told if absent else ""
