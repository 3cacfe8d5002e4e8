"""Whether rows under one device's name are of one device: no device has two readings at one instant."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.importers.timezones import iso_utc
from thermograd.store.errors import ImportFormatError
from thermograd.store.events import column_names
from thermograd.store.text import printable

_MOST_CROWDED = 0.25  # a share of instants; some have two rows where a logger writes whole seconds
_MOST_DEVICES = 16
_REGULAR = 0.8
_FEWEST_TURNS = 5
_REVERSED = 0.9  # a log whose latest row is the first


class _Crowd(NamedTuple):
    """How much of a device's readings are beside another of the same time."""

    share: float = 0.0
    where: int = 0  # the first of two such rows
    what: str = "at one time"


class _Rows(NamedTuple):
    """The rows of a device by their UTC time."""

    times: np.ndarray
    lines: np.ndarray


def require_one_device_a_name(recording: Recording, samples: OrderedRows) -> list[str]:
    """Refuse samples in which several devices have one name; return in words which of them are in doubt."""
    doubts = []
    known = _known(samples)
    for device, places in samples.by_device():
        rows = _Rows(samples.utc_ns[places], samples.store.lines[places].astype(np.int64))
        flags = {own.tobytes(): own for column in known if (own := column[places]).any()}
        columns = list(flags.values()) or [np.ones(len(places), bool)]
        crowd = max(found for column in columns for found in _crowds(rows, column))
        if crowd.share > _MOST_CROWDED:
            raise ImportFormatError(f"{recording.path}: {_sentence(recording, rows, device, crowd)}")
        if crowd.share:
            doubts.append(
                f"{printable(device)} has more than one row at {max(crowd.share, 0.001):.1%} of its "
                f"instants, e.g. {_places(recording, rows, crowd.where)}"
            )
    return doubts


def _known(samples: OrderedRows) -> list[np.ndarray]:
    """Return which rows hold a value, of each column; columns that all or no rows hold are the same once."""
    flags = (samples.store.known(name) for name in sorted(samples.columns) if name in column_names("sample"))
    return list({column.tobytes(): column for column in flags}.values())


def _crowds(rows: _Rows, column: np.ndarray) -> Iterator[_Crowd]:
    """Yield how readings of a column are beside others of their time.

    At the same instant; one shortly after another, in bursts of equal length; or in another stretch of the
    file, as in logs of two machines that were put one behind the other.
    """
    known = np.flatnonzero(column)
    times, lines = rows.times[known], rows.lines[known]
    apart = np.diff(times)
    again = np.flatnonzero(apart == 0)
    if again.size:
        instants, counts = np.unique(times, return_counts=True)
        yield _Crowd(float((counts > 1).sum()) / instants.size, int(known[again[0]]))
    if _in_bursts(apart):
        yield _Crowd(1.0, int(known[int(np.argmin(apart))]))
    back = np.flatnonzero(np.diff(lines) < 0)
    if back.size >= _FEWEST_TURNS and back.size < _REVERSED * apart.size:
        share = back.size / apart.size
        yield _Crowd(
            share if share > _MOST_CROWDED else 0.0, int(known[back[0]]), "in two stretches of the file"
        )
    yield _Crowd()


def _in_bursts(apart: np.ndarray) -> bool:
    """Whether distances of readings are short ones with a long one after every k-th: k devices in turn."""
    if apart.size < 7:
        return False
    low, high = np.maximum(np.quantile(apart, [0.25, 0.95]), 1.0)
    if high < 10 * low:
        return False
    pauses = np.diff(np.flatnonzero(apart > np.sqrt(low * high)))
    if pauses.size < 2:
        return False
    lengths, counts = np.unique(pauses, return_counts=True)
    length = int(lengths[np.argmax(counts)])
    return 2 <= length <= _MOST_DEVICES and int(counts.max()) >= _REGULAR * pauses.size


def _sentence(recording: Recording, rows: _Rows, device: str, crowd: _Crowd) -> str:
    return (
        f"several rows of device {printable(device)} {crowd.what} in {crowd.share:.0%} of its instants "
        f"({_places(recording, rows, crowd.where)}), so several devices have this name and would be mixed; "
        "allowed is a log that names every device (of nvidia-smi: query uuid, or an index that differs; of "
        "Prometheus: keep the labels UUID, gpu and Hostname), with times as fine as its rows"
    )


def _places(recording: Recording, rows: _Rows, where: int) -> str:
    first, second = rows.lines[where : where + 2].tolist()
    time_ns = int(rows.times[where])
    return f"{recording.account.place} {first} and {second}, {iso_utc(time_ns)} UTC"
