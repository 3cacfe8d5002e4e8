"""When the rows of imported logs happened: every row in UTC, in time order, or a refusal."""

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.daylight import DaylightError, utc_times
from thermograd.ingest.importers.recording import EventKind, Recording
from thermograd.ingest.importers.sources import WORDS
from thermograd.ingest.importers.timezones import Span, Zone, infer_zone
from thermograd.store.errors import ImportFormatError

_MINUTE_NS = 60 * 10**9


def in_time_order(recordings: list[Recording], zone: Zone | None) -> tuple[dict[EventKind, pa.Table], str]:
    """Give every row its UTC time; `zone` is the one that a person named for times that name none.

    Return the rows of each kind sorted by ``_time_ns`` (stable: equal times stay in the logged order), now
    UTC epoch ns, and how the times were read. ImportFormatError if times name no zone and none can be
    found, or the logs do not overlap. Of each kind there is at most one recording; none is empty.
    """
    device = next((r for r in recordings if r.kind == "sample"), None)
    steps = next((r for r in recordings if r.kind == "step"), None)
    tables: dict[EventKind, pa.Table] = {}
    hows = []
    for recording, beside in ((device, steps), (steps, None)):
        if recording is not None:
            its_zone, how = _zone_of(recording, beside, zone)
            tables |= _sorted_in_utc(recording, its_zone)
            hows.append(how)
    explained = "; ".join(hows)
    if device is not None and steps is not None and device.paths != steps.paths:
        _require_overlap(device, steps, tables, explained)
    return tables, explained


def _zone_of(recording: Recording, steps: Recording | None, zone: Zone | None) -> tuple[Zone | None, str]:
    """Return the zone of the rows that name none (None if all do), and how it was found."""
    word = "telemetry" if recording.kind == "sample" else "step log"
    word += f" {recording.estimated}" if recording.estimated is not None else ""
    naive = recording.spans.get(True)
    if naive is None and recording.estimated is not None:
        return None, word
    if naive is None:
        unused = "; --timezone was not needed for it" if zone is not None else ""
        how = f"{word}: as given, {recording.clock} has Z, an offset or epoch seconds in every row"
        if recording.times_read_as is not None:
            how = f"{word}: {recording.clock}, read as {recording.times_read_as}"
        return None, how + unused
    if zone is not None:
        return zone, f"{word} read as {zone.label}, as --timezone says"
    epochs = steps.spans.get(False) if steps is not None else None
    if steps is not None and epochs is not None:
        try:
            return infer_zone(naive, epochs, steps.local_offsets_s, steps.clock)
        except ImportFormatError as error:
            raise ImportFormatError(f"{recording.path}: {error}") from error
    raise ImportFormatError(
        f"{recording.path}, row {recording.first_naive}: the times of this {WORDS[recording.kind]} "
        f"({recording.clock}) name no zone, and no epoch times beside them show which; "
        "give --timezone, e.g. UTC or Europe/Vienna"
    )


def _sorted_in_utc(recording: Recording, zone: Zone | None) -> dict[EventKind, pa.Table]:
    """Return the rows of each kind in UTC and in time order; what one line gave has one time."""
    tables = recording.tables()
    lines, times, naive = (
        np.concatenate([table[name].to_numpy() for table in tables.values()])
        for name in ("_line", "_time_ns", "_naive")
    )
    if zone is not None:
        sequences = np.concatenate([_sequences(table) for table in tables.values()])
        rows = np.flatnonzero(naive)
        if len(tables) > 1:  # in the order of the file, which tells the hours that clocks show twice
            rows = rows[np.argsort(lines[rows], kind="stable")]
        times[rows] = _in_utc(recording, zone, lines[rows], times[rows], sequences[rows])
    parts = np.split(times, np.cumsum([len(table) for table in tables.values()])[:-1])
    return {kind: _at_times(table, own) for (kind, table), own in zip(tables.items(), parts, strict=True)}


def _in_utc(
    recording: Recording, zone: Zone, lines: np.ndarray, local_ns: np.ndarray, sequences: np.ndarray
) -> np.ndarray:
    if not local_ns.size:
        return local_ns
    try:
        if recording.estimated is None:
            return utc_times(local_ns, sequences, zone)
        # only the first is of a clock: the others are so and so long after it
        began = int(utc_times(local_ns[:1], sequences[:1], zone)[0])
        return np.asarray(local_ns + (began - int(local_ns[0])))
    except DaylightError as error:
        where = f"{recording.account.place} {int(lines[error.row])}"
        raise ImportFormatError(f"{recording.path}, {where}: {error}") from error


def _at_times(table: pa.Table, times: np.ndarray) -> pa.Table:
    table = table.set_column(table.schema.get_field_index("_time_ns"), "_time_ns", pa.array(times))
    return table.take(pa.array(np.argsort(times, kind="stable")))


def _sequences(table: pa.Table) -> np.ndarray:
    """Return a number for each row: rows with the same one were written in the order of their times."""
    if "device" not in table.column_names:
        return np.zeros(len(table), dtype=np.int64)
    return np.asarray(table["device"].combine_chunks().dictionary_encode().indices)


def _require_overlap(
    device: Recording, steps: Recording, tables: dict[EventKind, pa.Table], explained: str
) -> None:
    spans = {
        kind: Span(table["_time_ns"][0].as_py(), table["_time_ns"][-1].as_py())
        for kind, table in tables.items()
    }
    of_steps = spans.get("step", spans.get("metric", spans["sample"]))
    if not of_steps.overlaps(spans["sample"]):
        raise ImportFormatError(
            f"{device.path} ({spans['sample']} UTC) and {steps.path} ({of_steps} UTC) do not overlap in "
            f"time ({explained}); give the right zone with --timezone, or import them one by one"
        )


def out_of_order(recording: Recording) -> int:
    """Count the rows before whose time a row of the same file and device has already been."""
    if not len(recording):
        return 0
    table = recording.table()
    times = table["_time_ns"].to_numpy()
    sequences = _sequences(table)
    each = [times[sequences == sequence] for sequence in np.unique(sequences)]
    return sum(int((own[1:] < np.maximum.accumulate(own)[:-1]).sum()) for own in each)
