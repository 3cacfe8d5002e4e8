"""Reading rocm-smi: ``--csv`` or ``--json``, appended again and again; it says no times.

The core's temperature is that of the junction, as in our own readings, and the edge's where there is no
other.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.gpu.clocks import Rounds
from thermograd.ingest.importers.formats.gpu.documents import entries_of
from thermograd.ingest.importers.formats.gpu.readings import Readings
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, is_known
from thermograd.ingest.importers.timezones import Moment

_INSTEAD = "with amd-smi metric --power --clock --temperature --usage --mem-usage -w 1 --csv, which has times"
_CARD = re.compile(r"card(\d+)", re.ASCII | re.IGNORECASE)
_POWERS = ("average graphics package power (w)", "average_socket_power (w)")
_NAMES = {
    "utilization_pct": (("gpu use (%)", 1.0), ("average_gfx_activity (%)", 1.0)),
    "power_w": (
        ("current socket graphics package power (w)", 1.0),
        ("current_socket_power (w)", 1.0),
        *((name, 1.0) for name in _POWERS),
    ),
    "power_w_average": tuple((name, 1.0) for name in _POWERS),
    "power_limit_w": (("max graphics package power (w)", 1.0),),
    "temperature_c": (
        ("temperature (sensor junction) (c)", 1.0),
        ("temperature_hotspot (c)", 1.0),
        ("temperature (sensor edge) (c)", 1.0),
        ("temperature_edge (c)", 1.0),
    ),
    "memory_temperature_c": (("temperature (sensor memory) (c)", 1.0), ("temperature_mem (c)", 1.0)),
    "sm_clock_mhz": (("sclk clock speed", 1.0), ("current_gfxclk (mhz)", 1.0)),
    "memory_clock_mhz": (("mclk clock speed", 1.0), ("current_uclk (mhz)", 1.0)),
    "memory_used_bytes": (("vram total used memory (b)", 1.0),),
    "fan_pct": (("fan speed (%)", 1.0),),
}
_KNOWN = frozenset(name for names in _NAMES.values() for name, _ in names)
_MODELS = ("card series", "device name", "card model")
_IDS = frozenset({"unique id", *_MODELS})


def _key(name: str) -> str:
    return name.strip().rstrip(":").lower()


class _Cards:
    """What rocm-smi says of its cards, one round after the other."""

    def __init__(self, recording: Recording, hints: Hints) -> None:
        self._recording = recording
        self._readings = Readings(recording, _NAMES)
        self._rounds = Rounds(recording, hints, _INSTEAD)
        self._names: dict[str, str] = {}

    def moment(self, card: str, names: object) -> Moment:
        """Return the time of a card's readings: of other names than before, they are of the same round."""
        return self._rounds.moment((card, names))

    def sample(self, card: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return a card's readings; it has its unique id as its name, where the log has one."""
        match = _CARD.fullmatch(card)
        if match is None:
            raise LeftOutError("a row of no card", card)
        unique = texts.get("unique id", "")
        if is_known(unique):
            self._names.setdefault(card, unique.strip())
        device = self._names.setdefault(card, card)
        self._recording.place_device(device, match[1], None)
        model = next((texts[name] for name in _MODELS if is_known(texts.get(name, ""))), None)
        if model is not None and not model.startswith("0x"):
            self._recording.models.setdefault(device, model)
        return {"device": device} | self._readings.values(device, texts)


class _RocmSmi(Table):
    """What rocm-smi --csv printed: a header again before each round."""

    has_clock = False
    hints = frozenset({"sample_time_s"})

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._cards = _Cards(self.recording, hints)
        self._unused: set[str] = set()

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a card's, and one is known."""
        names = [_key(cell) for cell in cells]
        return names[0] == "device" and not _KNOWN.isdisjoint(names)

    def begin(self, number: int) -> None:
        """Keep the names of the columns."""
        self._keys = [_key(cell) for cell in self.header]
        self._unused |= {key for key in self._keys[1:] if key not in _KNOWN | _IDS}
        self.recording.ignored = of_no_use("column", self._unused)

    def refuse(self, cells: list[str]) -> None:
        """Count the round of a row, torn ones too."""
        if _CARD.fullmatch(cells[0]) is None:
            raise LeftOutError("a row of no card", cells[0])
        self._moment = self._cards.moment(cells[0], tuple(self._keys))

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the row as a sample."""
        return [(self._moment, self._cards.sample(cells[0], dict(zip(self._keys, cells, strict=True))))]


def _is_json(head: Head) -> bool:
    found = re.search(r'"card\d+"\s*:\s*\{', head.text[:2000])
    return head.text[:1] in "{W" and found is not None and any(_quoted(head, name) for name in _KNOWN)


def _quoted(head: Head, name: str) -> bool:
    return f'"{name}' in head.text.lower()


def _read_json(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", ROCM_SMI_JSON.name, hints=hints)
    cards, unused = _Cards(recording, hints), set[str]()
    for line, (card, readings) in entries_of(recording, _entries):
        with recording.row(line, {card: readings}):
            unused |= _add(recording, line, cards, card, readings)
    recording.ignored += of_no_use("name", unused)
    return [recording]


def _entries(report: Any) -> list[tuple[str, Any]]:
    """Return what a report says of each card."""
    return list(report.items()) if isinstance(report, dict) else [("", report)]


def _add(recording: Recording, line: int, cards: _Cards, card: str, readings: Any) -> set[str]:
    """Add a card's readings; return the names of no use."""
    if not isinstance(readings, dict) or _CARD.fullmatch(card) is None:
        raise LeftOutError("an entry of no card", card)
    texts = {_key(name): str(value) for name, value in readings.items()}
    moment = cards.moment(card, tuple(texts))
    recording.add(line, moment, cards.sample(card, texts))
    return {name for name in texts if name not in _KNOWN | _IDS}


ROCM_SMI_CSV = csv_format("what rocm-smi --csv printed", _RocmSmi)
ROCM_SMI_JSON = Format(
    "what rocm-smi --json printed",
    ("sample",),
    _is_json,
    _read_json,
    has_clock=False,
    hints=frozenset({"units", "sample_time_s"}),
)
