"""The catalogue of a place: what is told of each run, folded into one file, so that none need be opened.

::

    _catalogue/entries/<run_id>.json            one run, overwritten by its shipper
    _catalogue/<n:08>.parquet                   all runs; create-only, the highest number counts
    _catalogue/events/<kind>/<batch>.parquet    events of many runs, if that catalogue names the batch

A batch is called by the catalogue that it was made for, its place in it, how many runs it holds, and a
random end: ``00000001-0003-150-5f3a9c20``. What a killed compaction leaves is named by no catalogue.
"""

import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import msgspec
from thermograd.store.errors import PlaceError
from thermograd.store.places.place import CATALOGUE, Entry

FOLDER = CATALOGUE
ENTRIES = f"{FOLDER}/entries/"
_FOLDED = re.compile(rf"{FOLDER}/(?P<number>[0-9]{{8}})\.parquet")
_EVENTS = re.compile(
    rf"{FOLDER}/events/(?P<kind>[a-z]+)/(?P<batch>[0-9]{{8}}-[0-9]{{4}}-[0-9]{{3,6}}-[0-9a-f]{{8}})\.parquet"
)
_TEXT = ("run_id", "stamp", "events", "batch", "state", "entry")


class DamagedCatalogueError(PlaceError):
    """A folded catalogue that cannot be read: the runs tell the same."""


class Known(NamedTuple):
    """What a catalogue tells of one run.

    Attributes
    ----------
    entry
        The run's row, as `RunRow.to_entry` gives it; nothing where only its events are known.
    stamp
        What changes when the row may change: the etag of its entry, or `stamps.row_stamp`.
    batch, events
        Where its events are folded, and what they were then; both empty where they are not.
    """

    run_id: str
    stamp: str
    events: str = ""
    batch: str = ""
    entry: Mapping[str, Any] = {}

    @property
    def started_time_ns(self) -> int:
        """When the run began, UTC epoch ns; 0 where that is not known."""
        told = self.entry.get("started_time_ns")
        return told if isinstance(told, int) else 0


class Listing(NamedTuple):
    """What lies in the folder of a catalogue."""

    number: int
    entries: dict[str, Entry]
    events: dict[tuple[str, str], Entry]
    """By batch and kind."""
    folded: list[Entry]


def listing(files: Iterable[Entry]) -> Listing:
    """Return what the files of a catalogue's folder are; the number is 0 where nothing is folded yet."""
    entries: dict[str, Entry] = {}
    events: dict[tuple[str, str], Entry] = {}
    folded: dict[int, Entry] = {}
    for file in files:
        if file.name.startswith(ENTRIES) and file.name.endswith(".json"):
            entries[run_id_of(file.name)] = file
        elif match := _EVENTS.fullmatch(file.name):
            events[match["batch"], match["kind"]] = file
        elif match := _FOLDED.fullmatch(file.name):
            folded[int(match["number"])] = file
    return Listing(max(folded, default=0), entries, events, [folded[n] for n in sorted(folded)])


def folded_name(number: int) -> str:
    """Return the name of a folded catalogue."""
    return f"{FOLDER}/{number:08}.parquet"


def entry_name(run_id: str) -> str:
    """Return the name of a run's entry."""
    return f"{ENTRIES}{run_id}.json"


def run_id_of(name: str) -> str:
    """Return the run that an entry is of, by its name."""
    return name.removeprefix(ENTRIES).removesuffix(".json")


def runs_of_batch(batch: str) -> int:
    """Return how many runs a batch holds, by its name."""
    return int(batch.split("-")[2])


def events_told(entry: Mapping[str, Any]) -> str:
    """Return the events that a run has by its entry, as text to compare; empty while it may get more."""
    counts = entry.get("events")
    if entry.get("state") == "live" or not isinstance(counts, dict):
        return ""
    return " ".join(f"{kind}:{counts[kind]}" for kind in sorted(counts))


def events_name(kind: str, batch: str) -> str:
    """Return the name of a file of folded events."""
    return f"{FOLDER}/events/{kind}/{batch}.parquet"


def encoded_entry(entry: Mapping[str, Any]) -> bytes:
    """Return a run's row as the content of its entry."""
    import json

    from thermograd.store.text import without_nan

    return (json.dumps(without_nan(dict(entry)), default=str, allow_nan=False) + "\n").encode()


class _Row(msgspec.Struct):
    """What an entry has to be where it says it, so that it can be told."""

    run_id: str
    state: str | None = None
    reason: str | None = None
    started: str | None = None
    started_time_ns: int | None = None
    shipped_until_ns: int | None = None
    duration_s: float | None = None
    steps: int | None = None
    tags: list[str] | None = None
    events: dict[str, int] | None = None
    facts: dict[str, Any] | None = None


def decoded_entry(content: bytes | None) -> dict[str, Any]:
    """Return the row that an entry holds; an empty one where it holds none."""
    try:
        value = msgspec.json.decode(content or b"")
        msgspec.convert(value, _Row)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def encoded(runs: Iterable[Known]) -> bytes:
    """Return a folded catalogue as a Parquet file, by run id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(runs, key=lambda run: run.run_id)
    columns: dict[str, list[Any]] = {name: [getattr(run, name) for run in rows] for name in _TEXT[:4]}
    columns["state"] = [run.entry.get("state") for run in rows]
    columns["started_time_ns"] = [run.started_time_ns for run in rows]
    columns["entry"] = [encoded_entry(run.entry).decode().strip() for run in rows]
    types = dict.fromkeys(_TEXT, pa.string()) | {"started_time_ns": pa.int64()}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    file = BytesIO()
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    return file.getvalue()


def decoded(content: bytes, what: str) -> list[Known]:
    """Return the runs of a folded catalogue; DamagedCatalogueError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(content), page_checksum_verification=True, use_threads=False)
        parts: list[Any] = [
            table.column(name).to_pylist() for name in ("run_id", "stamp", "events", "batch", "entry")
        ]
        parts[-1] = map(_entry_of, parts[-1])
        return list(map(Known, *parts))
    except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.MsgspecError, RecursionError) as error:
        raise DamagedCatalogueError(
            f"{what} is damaged ({type(error).__name__}); thermograd compact writes another"
        ) from error


def _entry_of(content: str) -> dict[str, Any]:
    return msgspec.json.decode(content, type=dict[str, Any])
