"""Whether rows under one device's name are of one device: no device has two readings at one instant."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.timezones import iso_utc
from thermograd.store.errors import ImportFormatError
from thermograd.store.events import column_names
from thermograd.store.text import printable

_MOST_CROWDED = 0.25  # a share of instants; some have two rows where a logger writes whole seconds
_MOST_DEVICES = 16
_REGULAR = 0.8


def require_one_device_a_name(recording: Recording, samples: pa.Table) -> list[str]:
    """Refuse samples in which several devices have one name; return in words which of them are in doubt.

    `samples` are sorted by time, in UTC.
    """
    doubts = []
    for device in pc.unique(samples["device"]).to_pylist():
        rows = samples.filter(pc.equal(samples["device"], device))
        crowded = max((_crowding(rows, column) for column in _measures(rows)), key=lambda found: found[0])
        share, where = crowded
        if share > _MOST_CROWDED:
            raise ImportFormatError(f"{recording.path}: {_sentence(recording, rows, device, share, where)}")
        if share:
            doubts.append(
                f"{printable(device)} has more than one row at {max(share, 0.001):.1%} of its instants, e.g. "
                f"{_places(recording, rows, where)}"
            )
    return doubts


def _measures(rows: pa.Table) -> list[str]:
    names = [name for name in column_names("sample") if name in rows.column_names and name != "device"]
    return names or ["device"]


def _crowding(rows: pa.Table, column: str) -> tuple[float, int]:
    """Return the share of instants with several readings of a column, and the place of the first such row.

    Readings one shortly after another, in bursts of equal length, are taken as of one instant.
    """
    known = np.flatnonzero(rows[column].is_valid().to_numpy())
    times = rows["_time_ns"].to_numpy()[known]
    if times.size < 2:
        return 0.0, 0
    apart = np.diff(times)
    again = np.flatnonzero(apart == 0)
    if again.size:
        instants, counts = np.unique(times, return_counts=True)
        return float((counts > 1).sum()) / instants.size, int(known[again[0]])
    return (1.0, int(known[int(np.argmin(apart))])) if _in_bursts(apart) else (0.0, 0)


def _in_bursts(apart: np.ndarray) -> bool:
    """Whether distances of readings are short ones with a long one after every k-th: k devices in turn."""
    low, high = np.quantile(apart, [0.25, 0.95])
    if apart.size < 7 or high < 10 * low:
        return False
    pauses = np.diff(np.flatnonzero(apart > np.sqrt(low * high)))
    if pauses.size < 2:
        return False
    lengths, counts = np.unique(pauses, return_counts=True)
    length = int(lengths[np.argmax(counts)])
    return 2 <= length <= _MOST_DEVICES and int(counts.max()) >= _REGULAR * pauses.size


def _sentence(recording: Recording, rows: pa.Table, device: str, share: float, where: int) -> str:
    return (
        f"several rows of device {printable(device)} at one time in {share:.0%} of its instants "
        f"({_places(recording, rows, where)}), so several devices have this name and would be mixed; "
        "allowed is a log that names every device (of nvidia-smi: query uuid, or an index that differs; of "
        "Prometheus: keep the labels UUID, gpu and Hostname), with times as fine as its rows"
    )


def _places(recording: Recording, rows: pa.Table, where: int) -> str:
    first, second = rows["_line"].slice(where, 2).to_pylist()
    time_ns = rows["_time_ns"][where].as_py()
    return f"{recording.account.place} {first} and {second}, {iso_utc(time_ns)} UTC"
