"""Reading the ``metrics.csv`` of Lightning's CSVLogger: steps without a clock.

Every call of ``log`` is a row, with a cell for each name that was ever logged; a step is several rows
(its losses, its learning rates, an evaluation). Columns stand in alphabetical order; Lightning writes the
file anew when a name is added. Steps count from 0. ``hparams.yaml`` beside it is the configuration.
"""

from pathlib import Path

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.configuration_files import yaml_configuration
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.steps.step_clock import step_clock
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.tables.time_column import NAMES as TIMES
from thermograd.ingest.importers.text_files import LeftOutError, number_or_text, whole_number

_STEP = "step"
_OTHERS = frozenset({*TIMES, "device", "_step"})  # what a table with a clock, or of devices, has


class _Metrics(Table):
    """A ``metrics.csv`` while it is read."""

    kinds = ("step",)
    head_lines = 1
    has_clock = False

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._rows = StepRows(self.recording, ColumnNames(hints.columns), (_STEP,))
        self._clock = step_clock(paths[0], "Lightning's metrics.csv", hints)
        self.recording.estimated = self._clock.estimated
        self.recording.clock = "--started-at"

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are in order, a step and what was logged, without a time or a device."""
        is_theirs = _STEP in cells and 1 < len(cells) == len(set(cells)) and cells == sorted(cells)
        return is_theirs and "" not in cells and _OTHERS.isdisjoint(map(str.lower, cells))

    def row(self, number: int, cells: list[str]) -> tuple[()]:
        """Give what was logged in a row to its step."""
        logged = {name: text for name, text in zip(self.header, cells, strict=True) if text}
        step = whole_number(number_or_text(logged.pop(_STEP, "")))
        if step is None:
            raise LeftOutError("torn row: step is not a whole number >= 0", cells[self.header.index(_STEP)])
        moment = self._clock.after(step + 1)
        self.recording.require_new((self._clock.sessions, *cells))
        self._rows.put(number, moment, {_STEP: step}, logged)
        return ()

    def read(self) -> list[Recording]:
        """Read the file."""
        recordings = super().read()
        self._rows.finish()
        self._configure(self.recording.path.parent / "hparams.yaml")
        return recordings

    def _configure(self, path: Path) -> None:
        if path.is_file():
            self.recording.config, trouble = yaml_configuration(path)
            self.recording.ignored += [f"{path.name}: {trouble}"] if trouble else []
            self.recording.beside.append(path.name)


LIGHTNING_CSV = csv_format("a Lightning metrics.csv", _Metrics)
