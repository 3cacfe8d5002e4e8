"""When the rows of imported logs happened: every row in UTC, in time order, or a refusal."""

import numpy as np
from thermograd.ingest.importers.hints.use import WORDS
from thermograd.ingest.importers.recording import EventKind, Recording
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.importers.rows.row_store import RowStore
from thermograd.ingest.importers.times.daylight import DaylightError, utc_times
from thermograd.ingest.importers.timezones import Span, Zone, infer_zone
from thermograd.store.errors import ImportFormatError

_MINUTE_NS = 60 * 10**9


def in_time_order(recordings: list[Recording], zone: Zone | None) -> tuple[dict[EventKind, OrderedRows], str]:
    """Give every row its UTC time; `zone` is the one that a person named for times that name none.

    Return the rows of each kind by their UTC time (equal ones stay in the logged order), and how the times
    were read. ImportFormatError if times name no zone and none can be
    found, or the logs do not overlap. Of each kind there is at most one recording; none is empty.
    """
    device = next((r for r in recordings if r.kind == "sample"), None)
    steps = next((r for r in recordings if r.kind == "step"), None)
    tables: dict[EventKind, OrderedRows] = {}
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


def _sorted_in_utc(recording: Recording, zone: Zone | None) -> dict[EventKind, OrderedRows]:
    """Return the rows of each kind in UTC and in time order; what one line gave has one time."""
    stores = recording.stores()
    if zone is None or True not in recording.spans:
        return {kind: OrderedRows(store, store.times) for kind, store in stores.items()}
    if len(stores) == 1:
        return {kind: _in_zone(recording, zone, store) for kind, store in stores.items()}
    begins = {kind: _begins(store.lines, store.times, store.naive) for kind, store in stores.items()}
    lines, times, naive, codes = (
        np.concatenate([getattr(store, name)[begins[kind]] for kind, store in stores.items()])
        for name in ("lines", "times", "naive", "codes")
    )
    rows = np.flatnonzero(naive)  # in the order of the file, which tells the hours that clocks show twice
    rows = rows[np.argsort(lines[rows], kind="stable")]
    firsts = _begins(lines[rows], times[rows])
    own = rows[firsts]
    utc_ns = _in_utc(recording, zone, lines[own], times[own], codes[own])
    times[rows] = np.repeat(utc_ns, np.diff(firsts, append=len(rows)))
    parts = np.split(times, np.cumsum([len(each) for each in begins.values()])[:-1])
    return {
        kind: OrderedRows(store, np.repeat(part, np.diff(begins[kind], append=len(store))))
        for (kind, store), part in zip(stores.items(), parts, strict=True)
    }


def _begins(*columns: np.ndarray) -> np.ndarray:
    """Return where rows stand that differ from the one before: all that a line gave has one time."""
    differs = np.zeros(len(columns[0]), bool)
    differs[:1] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(differs)


def _in_zone(recording: Recording, zone: Zone, store: RowStore) -> OrderedRows:
    if store.naive.all():  # a long log: no copies of all that is known of its rows
        store.set_times(_in_utc(recording, zone, store.lines, store.times, store.codes))
        return OrderedRows(store, store.times)
    rows, times = np.flatnonzero(store.naive), store.times.copy()
    times[rows] = _in_utc(recording, zone, store.lines[rows], times[rows], store.codes[rows])
    return OrderedRows(store, times)


def _in_utc(
    recording: Recording, zone: Zone, lines: np.ndarray, local_ns: np.ndarray, sequences: np.ndarray
) -> np.ndarray:
    try:
        if recording.estimated is None:
            return utc_times(local_ns, sequences, zone)
        # only the first is of a clock: the others are so and so long after it
        began = int(utc_times(local_ns[:1], sequences[:1], zone)[0])
        return np.asarray(local_ns + (began - int(local_ns[0])))
    except DaylightError as error:
        where = f"{recording.account.place} {int(lines[error.row])}"
        raise ImportFormatError(f"{recording.path}, {where}: {error}") from error


def _require_overlap(
    device: Recording, steps: Recording, tables: dict[EventKind, OrderedRows], explained: str
) -> None:
    spans = {kind: Span(table.first_ns, table.last_ns) for kind, table in tables.items()}
    of_steps = spans.get("step", spans.get("metric", spans["sample"]))
    if not of_steps.overlaps(spans["sample"]):
        raise ImportFormatError(
            f"{device.path} ({spans['sample']} UTC) and {steps.path} ({of_steps} UTC) do not overlap in "
            f"time ({explained}); give the right zone with --timezone, or import them one by one"
        )


def out_of_order(recording: Recording) -> int:
    """Count the rows before whose time a row of the same file and device has already been."""
    return recording.rows.count_late() if len(recording) else 0
