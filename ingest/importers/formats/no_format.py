"""What a file is that cannot be imported, and what to do about it: in one line, by its content."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.ingest.importers.formats.nvidia_smi import SEPARATORS as SMI_SEPARATORS, is_smi_row
from thermograd.ingest.importers.formats.rle_session import SIGNALS
from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.tables.any_table import unknown
from thermograd.ingest.importers.tables.csv_rows import SEPARATORS, header_of
from thermograd.ingest.importers.tables.json_rows import objects
from thermograd.ingest.importers.tables.parquet_rows import names_of_schema
from thermograd.ingest.importers.text_files import cells_of

_MAGIC = {
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it first",
    b"\xfd7zXZ": "a xz archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"\x04\x22\x4d\x18": "a lz4 archive; unpack it first",
    b"ARROW1": "an Arrow file; write it as CSV or Parquet first",
    b"\xff\xff\xff\xff": "an Arrow stream; write it as CSV or Parquet first",
    b"SQLite format 3\0": "a SQLite database; write the table that you mean as CSV first",
    b"\x89HDF\r\n": "an HDF5 file; write it as CSV or Parquet first",
    b"\x93NUMPY": "a NumPy array; write it as CSV or Parquet first",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"\x7fELF": "a program, a binary file, not UTF-8 text",
    b"\x80\x02": "a pickle, a binary file; write it as CSV or Parquet first",
    b"\x80\x04": "a pickle, a binary file; write it as CSV or Parquet first",
}
_TIME = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")


def looks(head: Head) -> str:
    """Return what a file looks like that is none of the formats."""
    if head.data[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    for magic, what in _MAGIC.items():
        if head.data.startswith(magic):
            return what
    if head.data.startswith(b"PAR1") and head.path is not None:
        return parquet_looks(head.path)
    if not head.text:
        return "an empty file"
    if _is_wide(head.data):
        return "UTF-16 text without a byte order mark; save it as UTF-8"
    if "\0" in head.text or head.text.count("\ufffd") > len(head.text) // 20:
        return "a binary file, not UTF-8 text"
    for is_it, what in _TEXTS:
        if is_it(head.text):
            return what
    if head.text.startswith(("{", "[")):
        return _json_looks(head)
    return _table_looks(head.lines, head.path)


def parquet_looks(path: Path) -> str:
    """Return what is to be done with a Parquet file whose columns have other names than are known."""
    try:
        names = names_of_schema(pq.read_schema(path))
    except (pa.ArrowException, OSError) as error:
        return f"a damaged Parquet file ({str(error).partition(chr(10))[0][:200]}); take a whole one"
    return f"a table (Parquet); {unknown(path, names)}"


def _is_wide(data: bytes) -> bool:
    """Whether every other byte is zero, as in UTF-16 text of mostly ASCII."""
    start = b"" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else data[:2000]
    zeros = max(start[0::2].count(0), start[1::2].count(0))
    return len(start) >= 4 and zeros > 0.4 * len(start) and start.count(0) < 0.55 * len(start)


def _begins(*beginnings: str) -> Callable[[str], bool]:
    return lambda text: text[:200].lower().startswith(beginnings)


_TEXTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (
        _begins("version https://git-lfs.github.com/"),
        "a Git LFS pointer, not the file that it stands for; fetch that with git lfs pull",
    ),
    (_begins("<!doctype html", "<html"), "an HTML page (of a login, or an error?), not the log itself"),
    (_begins("<?xml", "<"), "XML or HTML, not a log"),
    (
        lambda text: "NVIDIA-SMI" in text[:2000] and text.lstrip()[:1] in "+|M",
        "the screen of nvidia-smi without a GPU; log with nvidia-smi --query-gpu=timestamp,uuid,... "
        "--format=csv -l 1",
    ),
    (
        lambda text: re.match(r"#\s*((Date|Time)[,\s]+){0,2}gpu[,\s]+pid\b", text, re.I) is not None,
        "the output of nvidia-smi pmon, which is by process, and shares of processes do not add up to that "
        "of their GPU; log with nvidia-smi dmon -s pucm -o DT",
    ),
    (
        lambda text: re.match(r"(TIMESTAMP\s+)?GPU\s+(XCP\s+)?POWER\s", text) is not None,
        "the screen of amd-smi monitor; log with amd-smi monitor -w 1 --csv",
    ),
    (
        lambda text: "NVITOP" in text[:1000],
        "the screen of nvitop; log with nvidia-smi --query-gpu=timestamp,uuid,... --format=csv -l 1",
    ),
    (
        lambda text: "ROCm System Management Interface" in text[:2000],
        "the screen of rocm-smi; log with rocm-smi --csv, or with amd-smi metric -w 1 --csv, which has times",
    ),
)


def _json_looks(head: Head) -> str:
    try:
        value, end = json.JSONDecoder().raw_decode(head.text)
    except (ValueError, RecursionError):
        value, end = None, 0
    rest = head.text[end:].lstrip()
    if isinstance(value, dict) and rest.startswith("{"):
        names = dict.fromkeys(name for each in objects(head) for name in each)
        return f"JSON Lines (an object a line); {unknown(head.path, names)}"
    is_json = (end > 0 and not rest) or (end == 0 and _begins_as_json(head.text))
    if is_json and head.text.startswith("["):
        return "a JSON list, but not of objects with a 'step'"
    if is_json:
        return "a JSON object, not a step log (a list) or device log"
    return "text, not a step log or device log (it begins with a bracket, but is no JSON)"


def _begins_as_json(text: str) -> bool:
    """Whether text that is broken or cut off may have been JSON."""
    return re.match(r'\{\s*("|\}|$)|\[\s*([\[{"\]]|-?\d[\d.eE+-]*\s*,|true|false|null|$)', text) is not None


def _table_looks(lines: list[str], path: Path | None) -> str:
    cells = cells_of(lines[0])
    columns = [cell[:40] for cell in cells[:50]]
    if any(is_smi_row(cells_of(line, mark)) for line in lines[:5] for mark in SMI_SEPARATORS):
        return (
            "an nvidia-smi log without its header (noheader), so its columns have no names; give the fields "
            "of the query that was used, e.g. --columns timestamp,index,power.draw,temperature.gpu"
        )
    if any(map(_is_reading, max((cells_of(lines[0], separator) for separator in SEPARATORS), key=len)[:-1])):
        return (
            "a CSV without a header, so its columns have no names; name them with --columns (also --time and "
            "--column), or put a line of their names before it"
        )
    if SIGNALS.intersection(columns):
        lacking = "time column (timestamp)" if "timestamp" not in columns else "device column"
        return f"a CSV without a {lacking}; it has: {', '.join(columns)}"
    names = header_of(Head(b"", "\n".join(lines)))
    return f"a CSV; {unknown(path, names)}" if names else "text, not a step log or device log"


def _is_reading(cell: str) -> bool:
    """Whether a cell is a time or a number, so that its row is no header."""
    return _TIME.match(cell) is not None or _NUMBER.fullmatch(cell) is not None
