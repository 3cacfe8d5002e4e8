"""Reading ``nvidia-smi -q``, as text or XML (``-x``), repeated with ``-l``: a block a GPU under a time.

A reading is known by its group and name alone: the same names stand in groups of MIG instances, of modules.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from thermograd.ingest.importers.formats.gpu.clocks import clock_line
from thermograd.ingest.importers.formats.gpu.readings import Readings
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, is_known, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

_BANNER = "NVSMI LOG"
_POWERS = ("gpu_power_readings", "power_readings")  # since driver 535, and before
_DRAWN = ("power_draw", "average_power_draw")  # the driver's average, on most GPUs
_MIB = 2.0**20
_NAMES = {  # group and name in the XML; those of the text become the same
    "utilization_pct": (("utilization/gpu_util", 1.0), ("utilization/gpu", 1.0)),
    "power_w": tuple((f"{g}/{n}", 1.0) for n in ("instant_power_draw", *_DRAWN) for g in _POWERS),
    "power_w_average": tuple((f"{g}/average_power_draw", 1.0) for g in _POWERS),
    "power_limit_w": tuple(
        (f"{g}/{n}", 1.0)
        for n in ("current_power_limit", "enforced_power_limit", "power_limit")
        for g in _POWERS
    ),
    "temperature_c": (("temperature/gpu_temp", 1.0), ("temperature/gpu", 1.0)),
    "memory_temperature_c": (("temperature/memory_temp", 1.0),),
    "slowdown_margin_c": (("temperature/gpu_temp_tlimit", 1.0),),
    "sm_clock_mhz": (("clocks/sm_clock", 1.0), ("clocks/sm", 1.0)),
    "memory_clock_mhz": (("clocks/mem_clock", 1.0), ("clocks/memory", 1.0)),
    "memory_used_bytes": (("fb_memory_usage/used", _MIB), ("memory_usage/used", _MIB)),
    "fan_pct": (("fan_speed", 1.0),),
}
_TEXT = {  # what the text calls differently
    "instantaneous_power_draw": "instant_power_draw",
    "gpu_current_temp": "gpu_temp",
    "memory_current_temp": "memory_temp",
    "gpu_t.limit_temp": "gpu_temp_tlimit",
    "gpu_uuid": "uuid",
}
_NO_TIME = "a GPU without a Timestamp above it"


class _Block(NamedTuple):
    """What the tool says of one GPU."""

    line: int
    moment: Moment | None
    bus: str
    texts: dict[str, str]
    last_line: str = "\n"


class _Query:
    """The blocks of a log, as samples."""

    def __init__(self, paths: tuple[Path, ...], name: str, hints: Hints) -> None:
        self.recording = Recording(paths, "sample", name, hints=hints)
        self.recording.clock = "Timestamp"
        self._readings = Readings(self.recording, _NAMES)
        self._names: dict[str, str] = {}  # of a GPU, by its bus

    def read(self, blocks: Iterator[_Block | LeftOutError]) -> list[Recording]:
        """Count every block, and keep it or leave it out with a reason."""
        for block in blocks:
            if isinstance(block, LeftOutError):
                with self.recording.row(0, block.value):
                    raise block
            else:
                with self.recording.row(block.line, block.bus):
                    self._add(block)
        if not len(self.recording) and self.recording.account.left_out[_NO_TIME]:
            raise ImportFormatError(
                f"{self.recording.path}: no line with a Timestamp is above its GPUs, so this is no time "
                "series; log with nvidia-smi -q -l"
            )
        return [self.recording]

    def _add(self, block: _Block) -> None:
        require_whole(block.last_line)
        if block.moment is None:
            raise LeftOutError(_NO_TIME)
        uuid = block.texts.get("uuid", "")
        if is_known(uuid):
            self._names.setdefault(block.bus, uuid)
        device = self._names.setdefault(block.bus, block.bus)
        values = self._readings.values(device, block.texts)
        self.recording.require_new((block.moment.ns, device, *values.values()), block.moment)
        self.recording.add(block.line, block.moment, {"device": device} | values)
        self.recording.place_device(device, block.texts.get("minor_number"), None)
        model = block.texts.get("product_name", "")
        if is_known(model):
            self.recording.models.setdefault(device, model)


# -- text ----------------------------------------------------------------------------------------

_LONGEST_LINE = 1000
_GPU = re.compile(r"GPU ([\da-fA-F]{4,8}:[\da-fA-F]{2}:[\da-fA-F]{2}\.[\da-fA-F])")
_FIELD = re.compile(r"( *)(\S.*?)(?: +: ?(.*))?")


def _is_text(head: Head) -> bool:
    return any(_BANNER in line for line in head.lines[:10]) and any(
        map(_GPU.fullmatch, map(str.strip, head.lines))
    )


def _text_blocks(path: Path) -> Iterator[_Block | LeftOutError]:
    """Yield a block a GPU: a group is indented by 4 blanks, its readings by 8."""
    moment, block, group, line = None, None, "", "\n"
    for number, line in text_lines(path):
        match = _FIELD.fullmatch(line.rstrip()[:_LONGEST_LINE])
        if match is None:
            continue
        depth, name, value = len(match[1]), match[2], match[3]
        if depth == 0:
            if block is not None:
                yield block
                block = None
            if (gpu := _GPU.fullmatch(name)) is not None:
                block, group = _Block(number, moment, gpu[1], {}), ""
            elif _BANNER in name:
                moment = None
            elif name == "Timestamp":
                moment = clock_line(value or "")
        elif block is not None and depth == 4:
            group = "" if value is not None else f"{_key(name)}/"
            if value is not None:
                block.texts.setdefault(_key(name), value.strip())
        elif block is not None and depth == 8 and value is not None:
            block.texts.setdefault(f"{group}{_key(name)}", value.strip())
    if block is not None:
        yield block._replace(last_line=line)


def _key(name: str) -> str:
    key = name.strip().lower().replace(" ", "_")
    return _TEXT.get(key, key)


def _read_text(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Query(paths, SMI_QUERY.name, hints).read(_text_blocks(paths[0]))


# -- XML -----------------------------------------------------------------------------------------


def _is_xml(head: Head) -> bool:
    return "<nvidia_smi_log>" in head.text[:2000]


class _Xml:
    """The documents of a file, one after the other; a broken one costs what follows in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser: Any = None
        self._moment: Moment | None = None
        self._depth = 0
        self._is_broken = True  # until the first document begins

    def blocks(self) -> Iterator[_Block | LeftOutError]:
        """Yield a block a GPU."""
        for number, line in text_lines(self._path):
            if "<!ENTITY" in line:
                raise ImportFormatError(
                    f"{self._path}, row {number}: it declares an entity, which nvidia-smi does not; "
                    "allowed is the XML as nvidia-smi -q -x wrote it"
                )
            if line.lstrip().startswith("<?xml"):
                self._begin()
            if not self._is_broken:
                yield from self._feed(number, line)

    def _begin(self) -> None:
        self._parser = ElementTree.XMLPullParser(["start", "end"])
        self._moment, self._depth, self._is_broken = None, 0, False

    def _feed(self, number: int, line: str) -> Iterator[_Block | LeftOutError]:
        try:
            self._parser.feed(line)
            for event, element in self._parser.read_events():
                self._depth += 1 if event == "start" else -1
                if event == "end" and self._depth == 1:
                    if element.tag == "timestamp":
                        self._moment = clock_line((element.text or "").strip())
                    elif element.tag == "gpu":
                        yield _Block(number, self._moment, element.get("id", ""), _texts(element))
                    element.clear()
        except ElementTree.ParseError:
            self._is_broken = True
            yield LeftOutError("torn entry: broken XML", line)


def _texts(gpu: ElementTree.Element) -> dict[str, str]:
    """Return a GPU's readings by group and name."""
    texts = {}
    for element in gpu:
        if element.text and element.text.strip():
            texts[element.tag] = element.text.strip()
        for inner in element:
            if inner.text and inner.text.strip():
                texts.setdefault(f"{element.tag}/{inner.tag}", inner.text.strip())
    return texts


def _read_xml(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Query(paths, SMI_QUERY_XML.name, hints).read(_Xml(paths[0]).blocks())


SMI_QUERY = Format(
    "what nvidia-smi -q printed", ("sample",), _is_text, _read_text, hints=frozenset({"units"})
)
SMI_QUERY_XML = Format(
    "what nvidia-smi -q -x printed", ("sample",), _is_xml, _read_xml, hints=frozenset({"units"})
)
