"""Following a run that is being written: each event once, from the tails that fill.

Who only follows reads tails, and needs nothing of Arrow, which takes a quarter of a second and 40 MB to load:
only what has moved on before it was seen is read from where it has gone to, by `thermograd.store.log.reader`.
"""

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, Event, column_names, event_order
from thermograd.store.files import Segment, folder_stamps, open_file, open_segments, sealed_segments
from thermograd.store.log.tail_codec import MOST_TAIL_BYTES, RecordCodec, codec_of_tail

_STAMP_COARSENESS_S = 2.0  # of the time at which a directory last changed, on the coarsest file system
_LONGEST_LIST_S = (
    10.0  # that a list is trusted: of a disk on the network, that time is remembered here for a while
)


@dataclass(slots=True)
class _Position:
    next_seq: int = 0
    tail: Segment | None = None
    file: IO[bytes] | None = None  # of the tail, where it is kept open
    codec: RecordCodec | None = None
    offset: int = 0
    tail_seq: int = 0  # of the record that comes at this offset, at least
    ended: bool = False
    moved: tuple[tuple[str, int], ...] = ()

    def let_go(self) -> None:
        """Close the tail that was kept open."""
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            self.file = None


@dataclass(slots=True)
class _Listing:
    """The files of a place, when that was last seen to change, and when they were last listed."""

    segments: list[Segment] = field(default_factory=list)
    stamps: tuple[tuple[str, int], ...] = ()
    since_s: float = -math.inf
    listed_s: float = -math.inf


def _open_files(run_dir: Path) -> list[Segment]:
    """List tails, then streams: the place that events leave before the place that they go to."""
    return open_segments(run_dir, "tail") + open_segments(run_dir, "arrows")


class Follower:
    """Reads each event of a run once, in order per writer and kind, while it is being written.

    Takes no lock and never writes. Works in another process than the writer's, and on finished runs.

    Parameters
    ----------
    run_dir
        The run's directory.
    kinds
        Kinds to read.
    last
        Begin with so many events of each writer and kind, at most, instead of with the first one.
    after
        The next `seq` of each writer and kind of which the events before it have been read already.
    kept_open
        How many tails may be kept open, to be read to their end also once their events have moved on.

    Attributes
    ----------
    run_dir
        May be changed: the run's directory was moved.
    """

    def __init__(
        self,
        run_dir: Path,
        kinds: Iterable[str] = tuple(KINDS),
        last: int | None = None,
        after: Mapping[tuple[str, str], int] | None = None,
        kept_open: int = 0,
    ) -> None:
        self._last = last
        self.run_dir = run_dir
        self._kinds = frozenset(kinds)
        self._kept_open = kept_open if hasattr(os, "pread") else 0  # on Windows it could not be removed
        self._positions = {key: _Position(next_seq) for key, next_seq in (after or {}).items()}
        self._listings = {"open": _Listing(), "sealed": _Listing()}

    def poll(self) -> list[Event]:
        """Return the events that appeared since the last call, by (time, writer, kind, seq).

        All that were acknowledged before the call are there; and of each event the marks that were before it.
        """
        tails: dict[tuple[str, str], list[Segment]] = defaultdict(list)
        live, sealed = self._list("open", _open_files), self._list("sealed", sealed_segments)
        for segment in (segment for segment in live if segment.path.suffix == ".tail"):
            tails[segment.writer, segment.kind].append(segment)
        moved: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for segment in [segment for segment in live if segment.path.suffix != ".tail"] + sealed:
            with suppress(FileNotFoundError):  # a sealed file never grows
                size = segment.path.stat().st_size if segment.last is None else 0
                moved[segment.writer, segment.kind].append((segment.path.name, size))
        events: list[Event] = []
        for key in sorted(tails.keys() | moved.keys(), key=lambda key: (key[1] == "mark", key)):
            if key[1] in self._kinds:
                events += self._poll_stream(*key, tails[key], tuple(moved[key]))
        return sorted(events, key=event_order)

    def close(self) -> None:
        """Let go of every file. It may be asked again."""
        for position in self._positions.values():
            position.let_go()

    def _list(self, place: str, listed: Callable[[Path], list[Segment]]) -> list[Segment]:
        """List files anew only where there may be others: in a long run they are many."""
        listing, now_s = self._listings[place], time.monotonic()
        stamps = folder_stamps(self.run_dir / place)
        if stamps != listing.stamps:
            listing.stamps, listing.since_s = stamps, now_s
        is_sure = now_s - listing.since_s > _STAMP_COARSENESS_S and now_s - listing.listed_s < _LONGEST_LIST_S
        if not is_sure:
            listing.segments, listing.listed_s = listed(self.run_dir), now_s
        return listing.segments

    def _poll_stream(
        self, writer: str, kind: str, tails: list[Segment], moved: tuple[tuple[str, int], ...]
    ) -> list[Event]:
        position = self._positions.setdefault((writer, kind), _Position())
        events: list[Event] = []
        if position.file is not None and position.tail not in tails:
            events += self._read_out(position)
        known = None if position.ended else position.tail  # one that has ended may stay for good
        if moved != position.moved and not any(
            tail.first == position.next_seq or tail == known for tail in tails
        ):
            events += self._catch_up(position, writer, kind)
        position.moved = moved
        for tail in tails:
            if tail == position.tail or tail.first <= position.next_seq:
                try:
                    events += self._read_tail(position, tail)
                except FileNotFoundError:  # moved on since it was listed, and the other places looked at
                    events += self._read_out(position)
                    if not position.ended or tail != position.tail:
                        events += self._catch_up(position, writer, kind)
                    position.moved = ()
        if position.ended and known is not None:  # what came after it is looked for next time
            position.moved = ()
        return events

    def _catch_up(self, position: _Position, writer: str, kind: str) -> list[Event]:
        from thermograd.store.log.reader import read_kind, to_events

        table = read_kind(self.run_dir, kind, writer, position.next_seq)
        if self._last is not None:
            table = table.slice(max(0, len(table) - self._last))
        events = to_events(kind, table)
        if events:
            position.next_seq = events[-1].values["seq"] + 1
        return events

    def _read_tail(self, position: _Position, tail: Segment) -> list[Event]:
        """Return what is new in a tail. FileNotFoundError where its events have just moved on."""
        known = position.codec if position.tail == tail else None
        base = position.offset if known is not None else 0
        try:
            state = tail.path.lstat()
            if (known is not None and position.ended) or state.st_size == base:
                return []
            file = position.file
            if file is None or known is None or not os.path.samestat(state, os.fstat(file.fileno())):
                position.let_go()
                file = self._open(position, tail.path)
            data = _read(file, base)
            if position.file is None:
                file.close()
            codec, start = (known, 0) if known is not None else codec_of_tail(data)
        except FileNotFoundError:
            raise  # an OSError that says more than the others
        except (OSError, LogError):  # its header is still being written
            position.let_go()
            return []
        return self._take(position, tail, codec, data, start)

    def _open(self, position: _Position, path: Path) -> IO[bytes]:
        """Open a tail, and keep it open where there is room for one more."""
        file = open_file(path)
        if sum(each.file is not None for each in self._positions.values()) < self._kept_open:
            position.file = file
        return file

    def _read_out(self, position: _Position) -> list[Event]:
        """Return what else is in a tail that was kept open, and is not at its place any more."""
        tail, codec, file = position.tail, position.codec, position.file
        if tail is None or codec is None or file is None:
            return []
        try:
            data = _read(file, position.offset)
        except OSError:  # on another host's disk it may be gone for good
            data = b""
        events = self._take(position, tail, codec, data, 0)
        position.let_go()
        return events

    @staticmethod
    def _take(position: _Position, tail: Segment, codec: RecordCodec, data: bytes, start: int) -> list[Event]:
        """Return the new events in what was read of a tail, from a known place on or from its beginning."""
        is_new = start > 0
        events: list[Event] = []
        empty = dict.fromkeys(column_names(tail.kind))
        found = codec.scan(data, start, tail.first if is_new else position.tail_seq)
        for row in found.rows:
            seq = int(row[0])
            if seq >= position.next_seq:
                events.append(Event(tail.kind, tail.writer, empty | dict(zip(codec.names, row, strict=True))))
                position.next_seq = seq + 1
        if found.rows:
            position.tail_seq = found.rows[-1][0] + 1
        elif is_new:
            position.tail_seq = tail.first
        position.offset = found.end + (0 if is_new else position.offset)
        position.tail, position.codec, position.ended = tail, codec, found.ended
        if found.ended:
            position.let_go()
        return events


def _read(file: IO[bytes], start: int) -> bytes:
    """Read a tail from a byte on."""
    count = min(os.fstat(file.fileno()).st_size - start, MOST_TAIL_BYTES)
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), max(0, count), start)
    file.seek(start)
    return file.read(max(0, count))
