"""Reading what exporters give to Prometheus, as text with timestamps."""

import re
from pathlib import Path

from thermograd.ingest.importers.formats.prometheus.samples import PrometheusSamples
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.store.errors import ImportFormatError

_SAMPLE = re.compile(r"[A-Za-z_:][\w:]*(?:\s*\{.*\})?\s+[-+\w.]+(\s+-?[\d.]+)?\s*", re.ASCII)
_FIRST_S = 1e8  # of 1973: seconds, read as milliseconds, are of January 1970
_NO_TIME = "a sample without a timestamp"


def _is_text(head: Head) -> bool:
    lines = head.lines[:-1] if head.is_cut else head.lines
    samples = [line for line in lines if not line.startswith("#")]
    typed = any(line.startswith(("# TYPE ", "# HELP ")) for line in lines)
    fitting = sum(bool(_SAMPLE.fullmatch(line.rstrip("\r"))) for line in samples)
    labelled = any("{" in line for line in samples)
    return bool(samples) and (typed or labelled) and fitting * 2 > len(samples)


def _read_text(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_TEXT.name, hints=hints, of_any=True)
    recording.clock = "the timestamp of each sample"
    samples = PrometheusSamples(recording)
    for number, line in text_lines(recording.path):
        if line.strip() and not line.startswith("#"):
            with recording.row(number, line):
                samples.put(number, *_text_value(line))
    samples.finish()
    if not len(recording) and recording.account.left_out[_NO_TIME]:
        raise ImportFormatError(
            f"{recording.path}: no sample has a timestamp, so this is one scrape and no time series; "
            "allowed is text with timestamps (ms), or the JSON of a range query to Prometheus"
        )
    return [recording]


def _text_value(line: str) -> tuple[str, dict[str, str], float, float]:
    """Parse one line with Prometheus' own client, so that a bad line costs itself only."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        (family,) = text_string_to_metric_families(line)
        (sample,) = family.samples
        value = float(sample.value)
    except (ValueError, IndexError, OverflowError) as error:
        raise LeftOutError("torn row: not in Prometheus' text format") from error
    if sample.timestamp is None:
        raise LeftOutError(_NO_TIME)
    require_whole(line)
    return sample.name, sample.labels, value, _seconds(float(sample.timestamp))


def _seconds(time_s: float) -> float:
    """Return a time that was read as milliseconds; OpenMetrics writes seconds."""
    return time_s if time_s > _FIRST_S else time_s * 1000.0


PROMETHEUS_TEXT = Format(
    "Prometheus text",
    ("sample",),
    _is_text,
    _read_text,
    hints=frozenset({"units", "columns", "device"}),
)
