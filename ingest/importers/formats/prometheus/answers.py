"""Reading the JSON with which Prometheus answers a query, as its API or promtool gives it.

One answer, the ``data`` of it alone, the list of its series alone, or several of them one after the other,
as what asks again and again for the latest values appends them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.prometheus.samples import PrometheusSamples
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, readable_json, text_lines
from thermograd.store.errors import ImportFormatError

_NATIVE = "a native histogram, which is no reading"
_TYPES = ("matrix", "vector")


class _Series(NamedTuple):
    """One series of an answer: its number in the file, labels, points, and native histograms."""

    number: int
    labels: dict[str, str]
    points: list[Any]
    histograms: list[Any]


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_JSON.name, hints=hints, of_any=True)
    recording.clock, recording.account.place = "the time of each value", "series"
    samples = PrometheusSamples(recording)
    for series in _series(recording.path):
        unnamed = f"series {series.number} (it has no name: an expression)"
        for point in series.points:
            with recording.row(series.number, point):
                samples.put(
                    series.number, series.labels.get("__name__", unnamed), series.labels, *_point(point)
                )
        for point in series.histograms:
            with recording.row(series.number, point):
                raise LeftOutError(_NATIVE)
    samples.finish()
    return [recording]


def _series(path: Path) -> Iterator[_Series]:
    answers = [_result(path, answer) for answer in _documents(path)]
    if len(answers) == 1 and answers[0][0] == "vector":
        raise ImportFormatError(
            f"{path}: the answer is a 'vector', not a time series; allowed is the 'matrix' of a range query "
            "(/api/v1/query_range), or several answers one after the other"
        )
    number = 0
    for _, result in answers:
        for series in result:
            number += 1
            yield _checked(path, number, series)


def _checked(path: Path, number: int, series: Any) -> _Series:
    series = series if isinstance(series, dict) else {}
    labels, points = series.get("metric"), series.get("values", [])
    points = [series["value"]] if "value" in series else points
    histograms = series.get("histograms", [series["histogram"]] if "histogram" in series else [])
    has_any = not {"value", "values", "histogram", "histograms"}.isdisjoint(series)
    if (
        not isinstance(labels, dict)
        or not isinstance(points, list)
        or not isinstance(histograms, list)
        or not has_any
    ):
        raise ImportFormatError(f"{path}, series {number}: allowed is an object with metric and values")
    return _Series(number, {str(key): str(value) for key, value in labels.items()}, points, histograms)


def _documents(path: Path) -> Iterator[Any]:
    """Yield the JSON values that stand one after the other in a file."""
    text = "".join(line for _, line in text_lines(path))
    decoder, place = json.JSONDecoder(), 0
    while rest := text[place : place + 1]:
        if rest.isspace():
            place += 1
            continue
        with readable_json(path):
            value, place = decoder.raw_decode(text, place)
        yield value


def _result(path: Path, answer: Any) -> tuple[str, list[Any]]:
    """Return the type and the series of an answer, of its data, or of the list of its series."""
    if isinstance(answer, list):
        return "matrix", answer
    if not isinstance(answer, dict):
        raise ImportFormatError(
            f"{path}: JSON of another sort ({type(answer).__name__}); allowed are answers of Prometheus"
        )
    data = answer if "resultType" in answer else answer.get("data")
    if answer.get("status", "success") != "success" or not isinstance(data, dict):
        raise ImportFormatError(
            f"{path}: Prometheus' answer has status {answer.get('status')!r}; allowed is 'success' with data"
        )
    result = data.get("result")
    if data.get("resultType") not in _TYPES or not isinstance(result, list):
        raise ImportFormatError(
            f"{path}: the answer is a {data.get('resultType')!r}, not a time series; allowed is the "
            "'matrix' of a range query (/api/v1/query_range)"
        )
    return data["resultType"], result


def _point(point: Any) -> tuple[float, float]:
    """Return value and time of one point: [seconds, "value"]."""
    try:
        time_s, text = point
        return float(text), float(time_s)
    except (TypeError, ValueError, OverflowError) as error:
        raise LeftOutError("torn point: not [seconds, value]") from error


def _recognises(head: Head) -> bool:
    beginning = head.text[:2000]
    if head.text.startswith("{"):
        return '"resultType"' in beginning
    is_series = '"metric"' in beginning and ('"values"' in head.text or '"value"' in head.text)
    return head.text.startswith("[") and is_series and '"step"' not in beginning.partition('"metric"')[0]


PROMETHEUS_JSON = Format(
    "a Prometheus range query (JSON)",
    ("sample",),
    _recognises,
    _read,
    hints=frozenset({"units", "columns", "device"}),
)
