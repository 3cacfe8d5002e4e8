"""Energy of the processor packages: the kernel's powercap files (RAPL; Intel, and AMD under Intel's name)."""

import re
import time
from pathlib import Path

from thermograd.ingest.devices.kernel.kept_file import KeptFile

ENABLE_RAPL = (
    "only root may read energy_uj (since Linux 5.10, CVE-2020-8694); to allow it until the next boot: "
    "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj, for good a udev rule: "
    'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"'
)
_PACKAGE = re.compile(r"intel-rapl:\d+")


class _Package:
    """One counter, which starts again at 0 after `range_uj`."""

    def __init__(self, directory: Path) -> None:
        self._file = KeptFile(directory / "energy_uj")
        self.range_uj = int((directory / "max_energy_range_uj").read_text())
        self.last_uj = self._file.integer()
        self.total_uj = self.last_uj

    def advance(self) -> None:
        now_uj = self._file.integer()
        self.total_uj += (now_uj - self.last_uj) % self.range_uj if self.range_uj else now_uj - self.last_uj
        self.last_uj = now_uj


class RaplMeter:
    """Sums the energy of all packages; `missing` says why there is no reading, or is None."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.missing: str | None = None
        self._packages: list[_Package] = []
        powercap = root / "sys" / "class" / "powercap"
        try:
            for directory in sorted(powercap.glob("intel-rapl:*")):
                if _PACKAGE.fullmatch(directory.name) and _is_package(directory):
                    self._packages.append(_Package(directory))
        except PermissionError:
            self._packages, self.missing = [], ENABLE_RAPL
        except (OSError, ValueError) as error:
            self._packages, self.missing = [], f"the kernel's energy counter cannot be read ({error})"
        if not self._packages and self.missing is None:
            self.missing = (
                "the kernel shows no energy counter (usual in a virtual machine; else try: "
                "sudo modprobe intel_rapl_msr)"
            )
        self._last: tuple[float, int] | None = None

    def read(self, now_s: float | None = None) -> tuple[float | None, float | None]:
        """Return the counter in J, without its wraps, and the mean power in W since the last call.

        Both are None where a package cannot be read; power also at the first call.
        """
        if not self._packages:
            return None, None
        now_s = time.monotonic() if now_s is None else now_s
        try:
            for package in self._packages:
                package.advance()
        except (OSError, ValueError):
            self._last = None  # the next difference would span an unknown time
            return None, None
        total_uj = sum(package.total_uj for package in self._packages)
        last, self._last = self._last, (now_s, total_uj)
        power_w = (total_uj - last[1]) / 1e6 / (now_s - last[0]) if last and now_s > last[0] else None
        return total_uj / 1e6, power_w


def _is_package(directory: Path) -> bool:
    """Tell a package from the whole platform ("psys"), which would be counted twice."""
    return (directory / "name").read_text().strip().startswith("package")
