"""Reading ``nvidia-smi dmon``: a row a GPU and period; times only with ``-o DT``.

`pviol` and `tviol` are a share of a period and a flag, no counters, so that no column fits them. `sbecc` and
`dbecc` are of the board's life, not since boot. `fb` in "MB" is in 2**20 bytes, as all memory of nvidia-smi.
"""

import re
from pathlib import Path
from typing import ClassVar

from thermograd.ingest.importers.formats.gpu.clocks import Days, Rounds
from thermograd.ingest.importers.formats.gpu.readings import whole
from thermograd.ingest.importers.formats.nvidia.scrolled import Scrolled, heading_of, words
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment, read_time

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_INSTEAD = "with nvidia-smi dmon -o DT"
_TIMES = frozenset({"date", "time"})
_VOCABULARY = frozenset(
    {"pwr", "temp", "gtemp", "mtemp", "sm", "mem", "enc", "dec", "jpg", "ofa", "mclk", "pclk", "pviol"}
    | {"tviol", "fb", "bar1", "ccpm", "sbecc", "dbecc", "pci", "rxpci", "txpci"}
)


def _are_names(names: list[str]) -> bool:
    """Whether these are dmon's columns; pmon's, of processes, are not."""
    first = next((name for name in names if name not in _TIMES), "")
    return first == "gpu" and "pid" not in names and len(_VOCABULARY.intersection(names)) > 1


class _Dmon(Scrolled):
    """A log of dmon."""

    known: ClassVar = {
        "pwr": ("power_w", 1.0),
        "gtemp": ("temperature_c", 1.0),
        "temp": ("temperature_c", 1.0),
        "mtemp": ("memory_temperature_c", 1.0),
        "sm": ("utilization_pct", 1.0),
        "mclk": ("memory_clock_mhz", 1.0),
        "pclk": ("sm_clock_mhz", 1.0),
        "fb": ("memory_used_bytes", 2.0**20),
        "pci": ("pcie_replays", 1.0),
    }
    dates = _TIMES
    named = frozenset({"gpu", *_TIMES})

    def __init__(self, paths: tuple[Path, ...], form: Format, hints: Hints) -> None:
        super().__init__(paths, form, hints)
        self._days: Days | None = None
        self._rounds: Rounds | None = None
        self.recording.clock = "Date, Time"

    @classmethod
    def names(cls, line: str) -> list[str] | None:
        """Return the names of a heading: # gpu pwr ...; not of pmon's, which has processes."""
        if not line.startswith("#"):
            return None
        names = [word.lower() for word in words(line[1:])]
        return names if _are_names(names) else None

    def row(self, named: dict[str, str]) -> tuple[str, Moment]:
        """Return GPU and time of a row."""
        index = whole(named.get("gpu", ""))
        if index is None:
            raise LeftOutError("torn row: gpu is no number", named.get("gpu", ""))
        device = f"gpu{index}"
        return device, self._moment(device, named)

    def _moment(self, device: str, named: dict[str, str]) -> Moment:
        if "time" not in named:
            self._rounds = self._rounds or Rounds(self.recording, self.hints, _INSTEAD)
            return self._rounds.moment(device)
        if "date" in named:
            match = _DATE.fullmatch(named["date"])
            moment = read_time(f"{'-'.join(match.groups())} {named['time']}") if match else None
        else:
            self._days = self._days or Days(self.recording, self.hints, _INSTEAD)
            moment = self._days.moment(named["time"])
        if moment is None:
            raise LeftOutError(
                "torn row: Date and Time are no date and time",
                f"{named.get('date', '')} {named['time']}".strip(),
            )
        return moment


def _is_dated(head: Head) -> bool:
    return _TIMES.issubset(heading_of(head, _Dmon) or ())


def _is_undated(head: Head) -> bool:
    return heading_of(head, _Dmon) is not None and not _is_dated(head)


def _read_dated(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Dmon(paths, DMON, hints).read()


def _read_undated(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Dmon(paths, DMON_UNDATED, hints).read()


def _asked_for(hints: Hints, dated: bool) -> bool:
    names = [name.lower() for name in hints.fields]
    return _are_names(names) and dated == _TIMES.issubset(names)


DMON = Format(
    "an nvidia-smi dmon log",
    ("sample",),
    _is_dated,
    _read_dated,
    hints=frozenset({"units", "fields"}),
    asked_for=lambda _, hints: _asked_for(hints, dated=True),
)
DMON_UNDATED = Format(
    "an nvidia-smi dmon log without dates",
    ("sample",),
    _is_undated,
    _read_undated,
    has_clock=False,
    hints=frozenset({"units", "sample_time_s", "fields"}),
    asked_for=lambda _, hints: _asked_for(hints, dated=False),
)
