"""Reading ``dcgmi dmon``: a row an entity and period, under the short names of DCGM's fields; without times.

PVIOL and TVIOL are counters in ns, as the exporter's.
"""

import re
from pathlib import Path
from typing import ClassVar

from thermograd.ingest.importers.formats.gpu.clocks import Rounds
from thermograd.ingest.importers.formats.gpu.readings import whole
from thermograd.ingest.importers.formats.nvidia.scrolled import Scrolled, heading_of, words
from thermograd.ingest.importers.formats.prometheus.dcgm_names import is_blank
from thermograd.ingest.importers.recording import Format, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment

_NUMBER = re.compile(r"\d+(\.\d*)?", re.ASCII)
_INSTEAD = "DCGM's exporter with times, or nvidia-smi --query-gpu=timestamp,uuid,... --format=csv -l 1"


class _DcgmiDmon(Scrolled):
    """A log of dcgmi dmon."""

    known: ClassVar = {
        "GPUTL": ("utilization_pct", 1.0),
        "POWER": ("power_w", 1.0),
        "POWINST": ("power_w", 1.0),
        "EPLMT": ("power_limit_w", 1.0),
        "PMLMT": ("power_limit_w", 1.0),
        "TOTEC": ("energy_j", 1e-3),
        "TMPTR": ("temperature_c", 1.0),
        "MMTMP": ("memory_temperature_c", 1.0),
        "SMCLK": ("sm_clock_mhz", 1.0),
        "MMCLK": ("memory_clock_mhz", 1.0),
        "FBUSD": ("memory_used_bytes", 2.0**20),
        "FANSP": ("fan_pct", 1.0),
        "DVCCTR": ("clock_event_mask", 1.0),
        "PVIOL": ("throttled_power_ns", 1.0),
        "TVIOL": ("throttled_thermal_ns", 1.0),
        "ESVTL": ("ecc_corrected", 1.0),
        "EDVTL": ("ecc_uncorrected", 1.0),
        "RPCTR": ("pcie_replays", 1.0),
    }
    named = frozenset({"ENTITY", "ID"})

    def __init__(self, paths: tuple[Path, ...], form: Format, hints: Hints) -> None:
        super().__init__(paths, form, hints)
        self._rounds = Rounds(self.recording, hints, _INSTEAD)

    @classmethod
    def names(cls, line: str) -> list[str] | None:
        """Return the short names of a heading: #Entity GPUTL POWER ..."""
        names = [word.upper() for word in words(line.removeprefix("#"))]
        return ["ENTITY", "ID", *names[1:]] if line.startswith("#") and names[:1] == ["ENTITY"] else None

    @staticmethod
    def is_remark(line: str) -> bool:
        """Whether a line has the units: ID W C, below the heading."""
        return line.startswith("#") or words(line)[:1] in (["ID"], ["Id"])

    @classmethod
    def taken(cls, names: list[str]) -> dict[str, tuple[str, float]]:
        """Return the columns taken: where instant power is there, POWER is the average."""
        taken = dict(cls.known)
        if "POWINST" in names:
            taken["POWER"] = ("power_w_average", 1.0)
        if "EPLMT" in names:
            del taken["PMLMT"]
        return taken

    def split(self, line: str) -> list[str]:
        """Return the cells of a row; what stands in for an absent value is none."""
        return ["N/A" if _NUMBER.fullmatch(cell) and is_blank(float(cell)) else cell for cell in words(line)]

    def row(self, named: dict[str, str]) -> tuple[str, Moment]:
        """Return the entity of a row and its time."""
        kind, text = named.get("ENTITY", ""), named.get("ID", "")
        number = whole(text)
        if number is None:
            raise LeftOutError(
                "torn row: it does not begin with an entity such as GPU 0", f"{kind} {text}".strip()
            )
        device = f"gpu{number}" if kind.upper() == "GPU" else f"{kind} {number}"
        return device, self._rounds.moment(device)


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _DcgmiDmon(paths, DCGMI_DMON, hints).read()


DCGMI_DMON = Format(
    "a dcgmi dmon log",
    ("sample",),
    lambda head: heading_of(head, _DcgmiDmon) is not None,
    _read,
    has_clock=False,
    hints=frozenset({"units", "sample_time_s"}),
)
