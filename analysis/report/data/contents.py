"""What the report of a run shows, read and computed once."""

from dataclasses import dataclass

from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.evidence import Evidence, around_spikes, lag_pairs, pair_evidence
from thermograd.analysis.report.data.experiment import ShownExperiment, shown_experiment
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.pair import Pair, closest_first
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries
from thermograd.analysis.run.wording.experiment_words import leading

_MOST_PAIRS = 60  # whose lags are shown
_MOST_EVIDENCE = 8  # pairs whose values are shown


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


def prepare(data: RunSeries, analysis: Analysis) -> Contents:
    """Compute all that the report of a run shows beyond its analysis."""
    every = lag_pairs(analysis)
    pairs = every[:_MOST_PAIRS]
    found = [
        pair_evidence(analysis.compared, place, families)
        for place, (_, families) in enumerate(pairs[:_MOST_EVIDENCE])
    ]
    evidence = [each for each in found if each is not None]
    coupled = [pair.device for pair in closest_first(analysis.pairs) if pair.verdict == "coupled"]
    panels = build_panels(data, coupled=list(dict.fromkeys(coupled)))
    more = len(every) - len(pairs)
    experiment = None
    if analysis.experiments:
        experiment = shown_experiment(data, leading(analysis.experiments), panels.origin_ns)
    return Contents(data, analysis, panels, pairs, evidence, *around_spikes(analysis), more, experiment)
