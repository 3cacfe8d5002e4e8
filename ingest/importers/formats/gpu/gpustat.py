"""Reading gpustat: what ``gpustat --json`` appended again and again, or the text of ``gpustat -i``.

Times are the host's local ones. Its "MB" is 2**20 bytes; power is rounded down to whole watts.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.gpu.clocks import clock_line
from thermograd.ingest.importers.formats.gpu.documents import entries_of
from thermograd.ingest.importers.formats.gpu.readings import on_screen
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, is_known, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_FIELDS = {  # column and factor, by the name in the JSON
    "utilization.gpu": ("utilization_pct", 1),
    "power.draw": ("power_w", 1),
    "enforced.power.limit": ("power_limit_w", 1),
    "temperature.gpu": ("temperature_c", 1),
    "memory.used": ("memory_used_bytes", 2**20),
    "fan.speed": ("fan_pct", 1),
}
_NAMED = frozenset({"index", "uuid", "name"})
_NO_TIME = "a GPU without a time above it"


# -- JSON ----------------------------------------------------------------------------------------


def _is_json(head: Head) -> bool:
    return head.text.startswith("{") and '"query_time"' in head.text[:2000] and '"gpus"' in head.text[:4000]


def _read_json(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", GPUSTAT_JSON.name, hints=hints)
    recording.clock = "query_time"
    recording.sources = {column: field for field, (column, _) in _FIELDS.items()}
    for line, (moment, host, gpu) in entries_of(recording, _entries):
        with recording.row(line, gpu):
            _add(recording, line, moment, host, gpu)
    return [recording]


def _entries(report: Any) -> list[tuple[Moment, str | None, Any]]:
    """Return what a report says of each GPU, with its time and host."""
    gpus = report.get("gpus") if isinstance(report, dict) else None
    if not isinstance(gpus, list):
        raise LeftOutError("torn entry: no report of gpustat")
    moment = read_time(str(report.get("query_time")))
    if moment is None:
        raise LeftOutError("a query_time that is no date and time", report.get("query_time"))
    host = report.get("hostname")
    return [(moment, host if isinstance(host, str) else None, gpu) for gpu in gpus]


def _add(recording: Recording, line: int, moment: Moment, host: str | None, gpu: Any) -> None:
    if not isinstance(gpu, dict):
        raise LeftOutError("an entry that is no object")
    index, uuid = gpu.get("index"), gpu.get("uuid")
    if not isinstance(uuid, str) or not is_known(uuid):
        uuid = _indexed(index, host)
    recording.require_new((moment.ns, repr(gpu)), moment)
    values: dict[str, Any] = {"device": uuid}
    for field, (column, factor) in _FIELDS.items():
        value = gpu.get(field)
        values[column] = recording.cell(column, "" if value is None else str(value), factor)
    recording.add(line, moment, values)
    recording.place_device(uuid, str(index), host)
    if isinstance(name := gpu.get("name"), str):
        recording.models.setdefault(uuid, name)


def _indexed(index: object, host: str | None) -> str:
    if not str(index).isdecimal():
        raise LeftOutError("the entry does not say which GPU it is of", index)
    return f"{host}:gpu{index}" if host else f"gpu{index}"


# -- text ----------------------------------------------------------------------------------------

_GPU = re.compile(r"\[(?P<index>\d+)\] (?P<model>.*?)\s*\|(?P<readings>[^|]*)\|(?P<memory>[^|]*)(?:\|.*)?")
_TEMPERATURE = re.compile(r"(\S{1,40}?) ?(?:°C|'C|C)(?:,|$)")
_SHARES = re.compile(r"(\S{1,40}) ?%")
_POWER = re.compile(r"(\S{1,40}) {1,40}(?:/ {1,40}(\S{1,40}) )?W")
_SHOWN = {  # as it stands on the screen
    "temperature_c": "°C",
    "utilization_pct": "%",
    "fan_pct": "the first % of two",
    "power_w": "W",
    "power_limit_w": "W behind the /",
    "memory_used_bytes": "MB",
}
_LONGEST_LINE = 4000  # of what it shows
_MEMORY = re.compile(r"(\S{1,40}) {0,40}/ {0,40}\S{1,40} {0,40}MB")
_CODEC = re.compile(r"\([^)]*\)")
_ISO = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ")
_OTHER = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d(?: [AP]M)?)")


def _is_text(head: Head) -> bool:
    lines = [on_screen(line[:_LONGEST_LINE]) for line in head.lines[:40]]
    gpus = [match for line in lines if (match := _GPU.fullmatch(line))]
    return any(_MEMORY.search(match["memory"]) and "%" in match["readings"] for match in gpus)


def _read_text(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", GPUSTAT_TEXT.name, hints=hints)
    recording.clock = "the line above the GPUs"
    recording.sources = dict(_SHOWN)
    moment, host = None, None
    for number, line in text_lines(recording.path, "latin-1"):
        text = on_screen(line[:_LONGEST_LINE])
        if text.startswith("["):
            with recording.row(number, text):
                _add_line(recording, number, text, moment, host)
        elif text and (found := _heading(text)) is not None:
            host, moment = found
    if not len(recording) and recording.account.left_out[_NO_TIME]:
        raise ImportFormatError(
            f"{recording.path}: no line above the GPUs has a date and time that can be read; log with "
            "LC_ALL=C gpustat -i, or gpustat --json again and again"
        )
    return [recording]


def _heading(text: str) -> tuple[str, Moment] | None:
    """Return host and time of the line above the GPUs; None for any other line."""
    host, _, rest = text.partition(" ")
    if (match := _ISO.search(rest)) is not None:
        moment = read_time(match[0])
    elif (match := _OTHER.search(rest)) is not None:
        moment = _other_time(match[1])
    else:
        match = _WEEKDAY.search(rest)
        moment = clock_line(rest[match.start() :]) if match is not None else None
    return (host, moment) if moment is not None else None


def _other_time(text: str) -> Moment | None:
    """Read day, month and year in the order of en_US and en_GB."""
    try:
        return read_time(
            datetime.strptime(
                text, f"%d %b %Y {'%I:%M:%S %p' if 'M' in text[-2:] else '%H:%M:%S'}"
            ).isoformat()
        )
    except ValueError:
        return None


def _add_line(recording: Recording, number: int, text: str, moment: Moment | None, host: str | None) -> None:
    match = _GPU.fullmatch(text[:_LONGEST_LINE])
    if match is None:
        raise LeftOutError("torn row: not a GPU's readings")
    if moment is None:
        raise LeftOutError(_NO_TIME)
    recording.require_new((moment.ns, text), moment)
    device = _indexed(match["index"], host)
    values = {column: _read(recording, column, cell) for column, cell in _cells(match).items()}
    recording.add(number, moment, {"device": device} | values)
    recording.place_device(device, match["index"], host)
    recording.models.setdefault(device, match["model"])


def _cells(match: re.Match[str]) -> dict[str, str | None]:
    """Return the text of each column."""
    readings = _CODEC.sub("", match["readings"])
    temperature, shares = _TEMPERATURE.search(readings), _SHARES.findall(readings)
    power, memory = _POWER.search(readings), _MEMORY.search(match["memory"])
    return {
        "temperature_c": temperature[1] if temperature else None,
        "utilization_pct": shares[-1] if shares else None,  # the fan's, where it is shown, is the first
        "fan_pct": shares[0] if len(shares) > 1 else None,
        "power_w": power[1] if power else None,
        "power_limit_w": power[2] if power else None,
        "memory_used_bytes": memory[1] if memory else None,
    }


def _read(recording: Recording, column: str, text: str | None) -> float | int | None:
    if text is None or not text.strip("?"):
        return None
    return recording.cell(column, text, 2.0**20 if column == "memory_used_bytes" else 1.0)


GPUSTAT_JSON = Format(
    "what gpustat --json wrote", ("sample",), _is_json, _read_json, hints=frozenset({"units"})
)
GPUSTAT_TEXT = Format("what gpustat showed", ("sample",), _is_text, _read_text, hints=frozenset({"units"}))
