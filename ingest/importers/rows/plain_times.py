"""Dates and times of one form, many at once."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from thermograd.ingest.importers.timezones import Moment

_FORM = "dddd/dd/dd dd:dd:dd.ddd"
_DIGITS = np.array([at for at, mark in enumerate(_FORM) if mark == "d"])
_MARKS = {at: ord(mark) for at, mark in enumerate(_FORM) if mark != "d"}
_ZERO, _DASH = ord("0"), ord("-")
_MONTHS, _DAYS = 12, 31


Read = Callable[[str], Moment | None]


def plain_times(texts: pa.ChunkedArray, read: Read) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Return the times, ns, which texts are times, and whether they name no zone; None where they differ.

    `read` reads what is of another form than nvidia-smi's.
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    return _of_usual_form(trimmed) or _of_any_form(trimmed, read)


def _of_any_form(texts: pa.ChunkedArray, read: Read) -> tuple[np.ndarray, np.ndarray, bool] | None:
    encoded = texts.dictionary_encode().combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    moments = [read(text) for text in encoded.dictionary.to_pylist()]
    naive = {moment.naive for moment in moments if moment is not None}
    if len(naive) != 1:
        return None
    times = np.array([0 if moment is None else moment.ns for moment in moments], np.int64)
    known = np.array([moment is not None for moment in moments], bool)
    codes = np.asarray(encoded.indices)
    return times[codes], known[codes], naive.pop()


def _of_usual_form(texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Read ``2026/11/24 10:00:00.123``, if all texts have as many characters."""
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    if lengths["min"] != lengths["max"] or lengths["min"] != len(_FORM):
        return None
    joined = texts.cast(pa.binary(len(_FORM)))
    cells = np.concatenate([np.frombuffer(_content(chunk), np.uint8) for chunk in joined.chunks])
    cells = cells.reshape(-1, len(_FORM))
    digits = cells[:, _DIGITS] - _ZERO
    known = (digits <= 9).all(axis=1)
    for at, mark in _MARKS.items():
        dashed = known & (cells[:, at] == _DASH) if mark == ord("/") else False
        known &= (cells[:, at] == mark) | dashed
    times, fits = _from_digits(digits.astype(np.int64))
    return times, known & fits, True


def _content(chunk: pa.Array) -> memoryview:
    width = len(_FORM)
    return memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]


def _from_digits(digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def number(*places: int) -> np.ndarray:
        total = digits[:, places[0]]
        for place in places[1:]:
            total = total * 10 + digits[:, place]
        return np.asarray(total)

    year, month, day = number(0, 1, 2, 3), number(4, 5), number(6, 7)
    hour, minute, second = number(8, 9), number(10, 11), number(12, 13)
    fits = (month >= 1) & (month <= _MONTHS) & (day >= 1) & (day <= _DAYS) & (year >= 1970) & (year < 2100)
    fits &= (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + np.where(fits, month, 1) - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    fits &= days.astype("datetime64[M]") == months
    seconds = days.astype(np.int64) * 86_400 + hour * 3600 + minute * 60 + second
    times = seconds * 10**9 + number(14, 15, 16) * 10**6
    return times, fits & (times > 0)
