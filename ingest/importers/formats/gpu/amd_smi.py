"""Reading amd-smi: ``metric`` or ``monitor``, as CSV or JSON; with ``-w`` each row has the epoch second.

Memory in "MB" is in 2**20 bytes, by amd-smi's own code. The core's temperature is that of the hotspot, and
the edge's where there is no other.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.gpu.clocks import Rounds
from thermograd.ingest.importers.formats.gpu.documents import entries_of
from thermograd.ingest.importers.formats.gpu.readings import Readings, whole
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, is_known
from thermograd.ingest.importers.timezones import Moment, read_time

_INSTEAD = "with -w 1, which adds times"
_AVERAGES = (("average_socket_power", 1.0), ("power.average_socket_power", 1.0))
_NAMES = {  # of a CSV, and with dots of the JSON
    "utilization_pct": (
        *(("gfx_activity", 1.0), ("usage.gfx_activity", 1.0)),
        *(("gfx_util", 1.0), ("gfx", 1.0)),
    ),
    "power_w": (
        *(("socket_power", 1.0), ("current_socket_power", 1.0), ("power_usage", 1.0)),
        *(("power.socket_power", 1.0), ("power.current_socket_power", 1.0)),
        *_AVERAGES,
    ),
    "power_w_average": _AVERAGES,
    "temperature_c": (
        *(("hotspot", 1.0), ("hotspot_temperature", 1.0), ("temperature.hotspot", 1.0)),
        *(("edge", 1.0), ("temperature.edge", 1.0)),
    ),
    "memory_temperature_c": (
        *(("memory_temperature", 1.0), ("temperature.mem", 1.0), ("mem (temperature)", 1.0)),
    ),
    "sm_clock_mhz": (*(("gfx_0_clk", 1.0), ("clock.gfx_0.clk", 1.0), ("gfx_clk", 1.0), ("gfx_clock", 1.0)),),
    "memory_clock_mhz": (
        *(("mem_0_clk", 1.0), ("clock.mem_0.clk", 1.0), ("mem_clk", 1.0), ("mem_clock", 1.0)),
    ),
    "memory_used_bytes": (
        *(("used_vram", 2.0**20), ("mem_usage.used_vram", 2.0**20), ("vram_used", 2.0**20)),
    ),
    "fan_pct": (("fan.usage", 1.0),),
    "energy_j": (("total_energy_consumption", 1.0), ("energy.total_energy_consumption", 1.0)),
    "ecc_corrected": (
        *(("total_correctable_count", 1.0), ("ecc.total_correctable_count", 1.0)),
        ("single_bit_ecc", 1.0),
    ),
    "ecc_uncorrected": (
        *(("total_uncorrectable_count", 1.0), ("ecc.total_uncorrectable_count", 1.0)),
        ("double_bit_ecc", 1.0),
    ),
    "pcie_replays": (("replay_count", 1.0), ("pcie.replay_count", 1.0), ("pcie_replay", 1.0)),
}
_KNOWN = frozenset(name for names in _NAMES.values() for name, _ in names)
_ROW = frozenset({"timestamp", "gpu", "xcp"})
_SIGNS = frozenset(  # names that no other tool has
    {"gfx_activity", "umc_activity", "mm_activity", "socket_power", "hotspot_temperature", "gfx_0_clk"}
    | {"gfx_clk", "used_vram", "vram_percent", "total_correctable_count", "xcp"}
)


class _Gpus:
    """What amd-smi says of its GPUs."""

    def __init__(self, recording: Recording, hints: Hints) -> None:
        self._recording = recording
        self._hints = hints
        self._readings = Readings(recording, _NAMES)
        self._rounds: Rounds | None = None

    def moment(self, texts: Mapping[str, str]) -> Moment:
        """Return when a row was read: its epoch second, or by the rounds where it has none."""
        if "timestamp" in texts:
            moment = read_time(texts["timestamp"])
            if moment is None:
                raise LeftOutError("a timestamp that is no time", texts["timestamp"])
            return moment
        self._rounds = self._rounds or Rounds(self._recording, self._hints, _INSTEAD)
        return self._rounds.moment((texts.get("gpu"), texts.get("xcp")))

    def sample(self, texts: dict[str, str]) -> dict[str, Any]:
        """Return the readings of a GPU, or of one of its partitions but the first."""
        index = whole(texts.get("gpu", ""))
        if index is None:
            raise LeftOutError("a row of no GPU", texts.get("gpu"))
        device, part = f"gpu{index}", texts.get("xcp", "").strip()
        if is_known(part) and part != "0":
            device = f"{device}/{part}"
        if "mem" in texts and not {"hotspot", "edge"}.isdisjoint(texts):
            texts["mem (temperature)"] = texts["mem"]  # degC; monitor has a share of time under this name
        self._recording.place_device(device, str(index), None)
        return {"device": device} | self._readings.values(device, texts)


class _AmdSmi(Table):
    """A CSV of amd-smi -w."""

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._gpus = _Gpus(self.recording, hints)

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a GPU's, with times."""
        return _is_header(cells) and "timestamp" in cells

    def begin(self, number: int) -> None:
        """Say which columns are of no use."""
        used = _KNOWN | _ROW | ({"mem"} if "hotspot" in self.header else set())
        unused = {cell for cell in self.header if cell not in used}
        self.recording.ignored = self.recording.ignored or of_no_use("column", unused)

    def refuse(self, cells: list[str]) -> None:
        """Count the round of a row, torn ones too."""
        self._moment = self._gpus.moment(dict(zip(self.header, cells, strict=False)))

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the row as a sample."""
        return [(self._moment, self._gpus.sample(dict(zip(self.header, cells, strict=True))))]


class _AmdSmiUndated(_AmdSmi):
    """A CSV of amd-smi without -w, appended again and again."""

    has_clock = False
    hints = frozenset({"sample_time_s"})

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a GPU's, without times."""
        return _is_header(cells) and "timestamp" not in cells


def _is_header(cells: list[str]) -> bool:
    return "gpu" in cells[:2] and not _SIGNS.isdisjoint(cells) and not _KNOWN.isdisjoint(cells)


# -- JSON ----------------------------------------------------------------------------------------


def _is_json(head: Head) -> bool:
    """Whether there are GPUs with a reading that is known, by name or in its group."""
    text = head.text[:20_000]
    signs = (f'"{sign}"' for sign in _SIGNS)
    return head.text[:1] in "[{W" and '"gpu":' in text and any(sign in text for sign in signs)


def _is_dated(head: Head) -> bool:
    return _is_json(head) and '"timestamp"' in head.text[:20_000]


def _entries(report: Any) -> list[Any]:
    """Return what a report says of each GPU."""
    if isinstance(report, dict) and isinstance(report.get("gpu_data"), list):
        return list(report["gpu_data"])
    return report if isinstance(report, list) else [report]


def _read(paths: tuple[Path, ...], hints: Hints, name: str) -> list[Recording]:
    recording = Recording(paths, "sample", name, hints=hints)
    gpus, unused = _Gpus(recording, hints), set[str]()
    for line, entry in entries_of(recording, _entries):
        with recording.row(line, entry):
            unused |= _add(recording, line, gpus, entry)
    recording.ignored += of_no_use("name", unused)
    return [recording]


def _add(recording: Recording, line: int, gpus: _Gpus, entry: Any) -> set[str]:
    """Add a GPU's readings; return the names of no use."""
    if not isinstance(entry, dict):
        raise LeftOutError("torn entry: no object")
    texts = dict(_flat(entry))
    moment = gpus.moment(texts)
    if "timestamp" in texts:
        recording.require_new(tuple(texts.items()), moment)
    recording.add(line, moment, gpus.sample(texts))
    return {name for name in texts if name not in _KNOWN | _ROW}


def _flat(entry: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each reading under the names of its groups with dots between, its unit behind its number."""
    for name, value in entry.items():
        if isinstance(value, dict) and "value" in value:
            yield f"{prefix}{name}", f"{value['value']} {value.get('unit', '')}".strip()
        elif isinstance(value, dict) and prefix.count(".") < 3:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


def _read_dated(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _read(paths, hints, AMD_SMI_JSON.name)


def _read_undated(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _read(paths, hints, AMD_SMI_JSON_UNDATED.name)


AMD_SMI_CSV = csv_format("an amd-smi log (CSV)", _AmdSmi)
AMD_SMI_CSV_UNDATED = csv_format("an amd-smi log (CSV) without times", _AmdSmiUndated)
AMD_SMI_JSON = Format(
    "an amd-smi log (JSON)", ("sample",), _is_dated, _read_dated, hints=frozenset({"units"})
)
AMD_SMI_JSON_UNDATED = Format(
    "an amd-smi log (JSON) without times",
    ("sample",),
    lambda head: _is_json(head) and not _is_dated(head),
    _read_undated,
    has_clock=False,
    hints=frozenset({"units", "sample_time_s"}),
)
