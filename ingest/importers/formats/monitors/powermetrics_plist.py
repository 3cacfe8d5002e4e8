"""Reading what macOS' powermetrics writes with ``-f plist``: a property list a sample, zeros between them.

``freq_hz`` of the GPU is in MHz, whatever its name says; energies are mJ in the sample, no counters.
"""

import plistlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from thermograd.ingest.importers.formats.monitors.powermetrics import give, with_values
from thermograd.ingest.importers.formats.monitors.sample_times import RowTimes
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, OddCellError, measure, readable
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_END = b"</plist>"
_CHUNK = 1 << 20
_LONGEST = 1 << 26  # bytes of one sample
_BROKEN = (ExpatError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
_POWERS = {"cpu": "cpu", "gpu0": "gpu", "ane": "ane", "soc": "combined"}
_HIGHEST_MHZ = 100_000.0  # above it, a frequency is in Hz


def _documents(path: Path) -> Iterator[bytes]:
    """Yield the samples of a file, the last one even if it is cut."""
    rest = b""
    with readable(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            *whole, rest = (rest + chunk).split(_END)
            yield from (document.strip(b"\0 \t\r\n") + _END for document in whole)
            if len(rest) > _LONGEST:
                raise ImportFormatError(
                    f"{path}: a sample of more than {_LONGEST >> 20} MiB; allowed are shorter ones"
                )
    if rest.strip(b"\0 \t\r\n"):
        yield rest


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", POWERMETRICS_PLIST.name, hints=hints)
    recording.clock, recording.account.place = "timestamp", "sample"
    times = RowTimes(recording, hints, "", "")
    for number, document in enumerate(_documents(recording.path), start=1):
        with recording.row(number):
            sample = _sample(document)
            elapsed_s = _number(sample.get("elapsed_ns"), 1e9)
            moment = times.at(_when(sample), elapsed_s)
            devices = _devices(recording, sample, elapsed_s)
            give(recording, number, moment, devices)
            if isinstance(model := sample.get("hw_model"), str):
                recording.models |= dict.fromkeys(devices.keys() & {"cpu", "gpu0"}, model[:80])
    return [recording]


def _sample(document: bytes) -> dict[str, Any]:
    if not document.endswith(_END):
        raise LeftOutError("torn row: the file ends in mid-sample")
    try:
        sample = plistlib.loads(document, fmt=plistlib.FMT_XML)
    except _BROKEN as error:
        raise LeftOutError("torn row: a sample that is no property list") from error
    if not isinstance(sample, dict):
        raise LeftOutError("torn row: a sample that is no dictionary")
    return sample


def _when(sample: dict[str, Any]) -> Moment:
    time = sample.get("timestamp")
    if isinstance(time, datetime):
        time = time.replace(tzinfo=UTC).isoformat()
    moment = read_time(time) if isinstance(time, str) else None
    if moment is None:
        raise LeftOutError("torn row: a sample's timestamp is no time between 1970 and 2100", time)
    return moment


def _devices(
    recording: Recording, sample: dict[str, Any], elapsed_s: float | None
) -> dict[str, dict[str, Any]]:
    processor, gpu = _part(sample, "processor"), _part(sample, "gpu")
    devices: dict[str, dict[str, Any]] = {
        device: {"power_w": _power(recording, processor, gpu, name, elapsed_s)}
        for device, name in _POWERS.items()
    }
    idle, megahertz = _number(gpu.get("idle_ratio"), 1), _number(gpu.get("freq_hz"), 1)
    if idle is not None:
        devices["gpu0"]["utilization_pct"] = recording.value("utilization_pct", 100 * (1 - idle))
    if megahertz is not None:
        clock = megahertz if megahertz < _HIGHEST_MHZ else megahertz / 1e6
        devices["gpu0"]["sm_clock_mhz"] = recording.value("sm_clock_mhz", clock)
    devices["cpu"]["utilization_pct"] = recording.value("utilization_pct", _busy_pct(processor))
    return with_values(devices)


def _power(
    recording: Recording, processor: dict[str, Any], gpu: dict[str, Any], name: str, elapsed_s: float | None
) -> float | int | None:
    """Return a mean power, W: as it stands, else by the energy in the sample."""
    power_w = _number(processor.get(f"{name}_power"), 1000)
    energy_j = _number(processor.get(f"{name}_energy", gpu.get(f"{name}_energy")), 1000)
    if power_w is None and energy_j is not None and elapsed_s:
        power_w = energy_j / elapsed_s
    return recording.value("power_w", power_w)


def _busy_pct(processor: dict[str, Any]) -> float | None:
    """Return the mean share of the cores that are neither idle nor off; None where one is not known."""
    clusters = processor.get("clusters")
    cores = [
        core
        for cluster in (clusters if isinstance(clusters, list) else [])
        for core in (_list(cluster.get("cpus")) if isinstance(cluster, dict) else [])
    ]
    shares = [_busy(core) for core in cores]
    known = [share for share in shares if share is not None]
    return 100 * sum(known) / len(known) if known and len(known) == len(shares) else None


def _busy(core: Any) -> float | None:
    idle = _number(core.get("idle_ratio"), 1) if isinstance(core, dict) else None
    return None if idle is None else max(1 - idle - (_number(core.get("down_ratio"), 1) or 0.0), 0.0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _part(sample: dict[str, Any], name: str) -> dict[str, Any]:
    part = sample.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any, over: float) -> float | None:
    """Return a number in other units; None for what is none."""
    try:
        number = measure(value)
    except OddCellError:
        return None
    return None if number is None else number / over


def _recognises(head: Head) -> bool:
    return "<plist" in head.text[:1000] and "<key>elapsed_ns</key>" in head.text


POWERMETRICS_PLIST = Format("a powermetrics log (plist)", ("sample",), _recognises, _read)
