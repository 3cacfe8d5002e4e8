"""The open batch on disk: one framed record an event, so that a killed process loses nothing.

Arrow has no cheap way to make a single row durable (a one-row batch costs 488 bytes and reads four
orders of magnitude slower), so the rows of a batch that is still filling live in a *tail* file as
fixed-layout records, each written by a single ``write`` and guarded by a CRC-32. When the batch is
full it goes to the Arrow stream and the tail is removed.

A tail starts with one line that names its columns, so that it can be read without this version of
thermograd: ``thermograd-tail 2 <kind> <name>:<type>,... <crc32 of what stands before it, hex>``. A
record is ``size, crc32`` (uint32 each, little endian), then a uint64 mask of the null columns, the
columns in order (8 bytes for a number, 1 for a bool, uint32 length for a string), then the strings'
UTF-8 bytes. A record without payload, `END`, closes the tail: what stands behind it does not count.

The place of a record is the truth about its ``seq``, the number in it the writer's belief: two appends at
once, one of them in a signal handler, may write the same number twice. Who reads counts on from the record
before (`RecordCodec.scan`). Bytes that are no record, left by a write that failed half-way, are passed over.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from thermograd.store.errors import LogError
from thermograd.store.events import COMMON, KINDS, columns
from thermograd.store.files import MOST_SEQ

MISFITS = (
    struct.error,
    TypeError,
    OverflowError,
)  # what packing raises where a value does not fit its column
_FRAME = struct.Struct("<II")
_crc32 = zlib.crc32
_CODES = {"int64": "q", "uint64": "Q", "float64": "d", "bool": "?", "string": "I"}
END = _FRAME.pack(0, zlib.crc32(b"end of the tail"))
_MAGIC = "thermograd-tail 2"
_WIDEST_GAP_BYTES = 1 << 20  # how far behind a torn record the next one is looked for, in all of a tail
_MOST_CHECKED_BYTES = 64 << 20  # while it is looked for: damage may look like records by the million
MOST_TAIL_BYTES = 32 << 20  # that are read of a tail; ours have a few
_MOST_HEADER_BYTES = 1 << 16
_MOST_COLUMNS = 64  # the mask of the null ones has so many bits
_MOST_PLANS = 256  # sets of known columns that are remembered; a program has a few


class _Plan(NamedTuple):
    """How events with one set of known columns are packed.

    `take` gives their values in the order of `names`, the kind's; `texts`: where among these the strings are.
    `unsaid`: where a None has to be looked for, as packing would take it for a value. `frame` puts `size`
    and checksum before what has no string.
    """

    pack: Callable[..., bytes]
    mask: int
    take: Callable[[dict[str, Any]], tuple[Any, ...]]
    width: int
    texts: tuple[int, ...]
    unsaid: tuple[int, ...]
    frame: Callable[[int, int, bytes], bytes]
    size: int
    names: tuple[str, ...]


class Rows(NamedTuple):
    """Events of one moment that know the same columns, `names`, in the kind's order; no value is None."""

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Scan(NamedTuple):
    """The records of a tail from some place on.

    `rows`: in column order, ``seq`` rising. `end`: where the last of them ends, from where reading goes on.
    `skipped`: bytes between them that are no record. `ended`: the tail is closed. `is_torn`: whether all that
    was skipped are beginnings of records, as writes that failed half-way leave them: no event is missing.
    """

    rows: list[tuple[Any, ...]]
    end: int
    skipped: int
    ended: bool
    is_torn: bool = False


class RecordCodec:
    """Packs the rows of one kind into framed records and reads them back.

    `fields`: (name, type) of each column in order; types as in `thermograd.store.events`.

    `quick`: pack, mask, take, width, frame and size of the plan of the event before, with which
    `thermograd.store.log.tail` packs the next one, if it can; where that needs more, no event has its width.
    """

    def __init__(self, kind: str, fields: Sequence[tuple[str, str]]) -> None:
        self.kind = kind
        self.names = tuple(name for name, _ in fields)
        line = f"{_MAGIC} {kind} {','.join(f'{n}:{t}' for n, t in fields)}"
        self.header = f"{line} {zlib.crc32(line.encode()):08x}\n".encode()
        self._texts = tuple(i for i, (_, t) in enumerate(fields) if t == "string")
        self._codes = tuple(_CODES[t] for _, t in fields)
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._struct = struct.Struct("<Q" + "".join(self._codes))
        self._remember(self._plan(()))
        self.layout: list[tuple[str, str]] | None = None  # numpy dtype of a record, where all have one size
        self.record_size = None if self._texts else _FRAME.size + self._struct.size
        if not self._texts:
            types = {"int64": "<i8", "uint64": "<u8", "float64": "<f8", "bool": "?"}
            frame = [("size", "<u4"), ("crc32", "<u4"), ("mask", "<u8")]
            self.layout = frame + [(name, types[t]) for name, t in fields]

    def _remember(self, plan: _Plan) -> _Plan:
        """Note the plan of an event, mostly the next one's as well; return it."""
        self._latest = plan
        width = plan.width if not plan.texts and not plan.unsaid else -1
        self.quick = plan.pack, plan.mask, plan.take, width, plan.frame, plan.size
        return plan

    def pack(self, row: Sequence[Any]) -> bytes:
        """Return the framed record of one row, null where a value is None.

        Raises struct.error, TypeError or OverflowError if a value does not fit its column.
        """
        mask, text, values = 0, b"", list(row)
        for i in self._texts:
            if values[i] is not None:
                encoded = str(values[i]).encode("utf-8", "replace")
                text += encoded
                values[i] = len(encoded)
        for i, value in enumerate(values):
            if value is None:
                mask |= 1 << i
                values[i] = 0
        payload = self._struct.pack(mask, *values) + text
        return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload

    def pack_values(self, seq: int, time_ns: int, monotonic_ns: int, values: dict[str, Any]) -> bytes:
        """Return the framed record of one event from the columns that it has.

        Raises ValueError if the kind has no such column, or a value does not fit its column; it names both.
        """
        pack, mask, take, width, texts, unsaid, frame, size, _ = self._latest
        try:
            given = take(values) if len(values) == width else None
        except KeyError:
            given = None
        if given is None:
            latest = self._remember(self._plans.get(tuple(values)) or self._plan(tuple(values)))
            pack, mask, take, width, texts, unsaid, frame, size, _ = latest
            given = take(values)
        for at in unsaid:
            if given[at] is None:
                return self._pack_said(seq, time_ns, monotonic_ns, values)
        try:
            if not texts:
                payload = pack(mask, seq, time_ns, monotonic_ns, *given)
                return frame(size, _crc32(payload), payload)
            known = list(given)
            text = _measured(known, texts)
            payload = pack(mask, seq, time_ns, monotonic_ns, *known) + text
        except MISFITS as error:
            return self._pack_said(seq, time_ns, monotonic_ns, values, error)
        return _FRAME.pack(len(payload), _crc32(payload)) + payload

    def pack_rows(self, seq: int, time_ns: int, monotonic_ns: int, events: Rows) -> bytes:
        """Return the framed records of several events, one after the other; raises as `pack_values`."""
        names, rows = events
        pack, mask, _, _, texts, _, _, _, known = self._plans.get(names) or self._plan(names)
        if known != names:
            raise ValueError(f"{self.kind} has its columns in another order than {', '.join(names)}")
        records = []
        for number, row in enumerate(rows, seq):
            given = list(row)
            try:
                text = _measured(given, texts)
                payload = pack(mask, number, time_ns, monotonic_ns, *given) + text
            except MISFITS as error:
                raise self._misfit(dict(zip(names, row, strict=True)), error) from error
            records.append(_FRAME.pack(len(payload), zlib.crc32(payload)))
            records.append(payload)
        return b"".join(records)

    def _pack_said(
        self,
        seq: int,
        time_ns: int,
        monotonic_ns: int,
        values: dict[str, Any],
        error: Exception | None = None,
    ) -> bytes:
        """Pack the values that are not None; where none is, raise what an error is about."""
        said = {name: value for name, value in values.items() if value is not None}
        if error is not None and len(said) == len(values):
            raise self._misfit(values, error) from error
        plan, names = self._latest, tuple(values)
        if error is not None:  # who leaves one of these unsaid does so again
            plan = self._plan(names)
            plan = self._plans[names] = plan._replace(unsaid=tuple(range(plan.width)))
        try:
            return self.pack_values(seq, time_ns, monotonic_ns, said)
        finally:
            self._remember(plan)

    def _misfit(self, values: dict[str, Any], error: Exception) -> ValueError:
        """Return the error that names the first column whose value does not fit."""
        for name, code in zip(self.names, self._codes, strict=True):
            value = values.get(name)
            if value is None or code == _CODES["string"]:
                continue
            try:
                struct.pack("<" + code, value)
            except MISFITS as reason:
                return ValueError(f"{name} is {repr(value)[:80]}: {reason}")
        return ValueError(str(error))

    def _plan(self, given: tuple[str, ...]) -> "_Plan":
        """Work out once how rows with these columns, and no others, are packed."""
        unknown = [name for name in given if name not in self.names[3:]]
        if unknown:
            raise ValueError(f"{self.kind} has no column {', '.join(unknown)}")
        present = (*self.names[:3], *(name for name in self.names[3:] if name in given))
        mask = sum(1 << i for i, name in enumerate(self.names) if name not in present)
        layout = "".join(
            code if name in present else f"{struct.calcsize('<' + code)}x"
            for name, code in zip(self.names, self._codes, strict=True)
        )
        columns = present[3:]
        texts = tuple(i for i, name in enumerate(columns) if self.names.index(name) in self._texts)
        codes = dict(zip(self.names, self._codes, strict=True))
        unsaid = tuple(i for i, name in enumerate(columns) if codes[name] in "?I")
        take = (
            itemgetter(*columns)
            if len(columns) > 1
            else lambda values: tuple(map(values.__getitem__, columns))
        )
        packed = struct.Struct("<Q" + layout)
        frame = struct.Struct(f"<II{packed.size}s").pack
        plan = _Plan(packed.pack, mask, take, len(columns), texts, unsaid, frame, packed.size, columns)
        if len(self._plans) < _MOST_PLANS:
            self._plans[given] = plan
        return plan

    def scan(self, data: bytes, start: int = 0, next_seq: int = 0, most: int = sys.maxsize) -> Scan:
        """Read whole records from `start`, at `most` so many; the first's ``seq`` is `next_seq` or more."""
        rows: list[tuple[Any, ...]] = []
        offset, skipped, is_torn, gap = start, 0, True, b""
        while True:
            if len(rows) == most:
                return Scan(rows, offset, skipped, False, is_torn and skipped > 0)
            end = self._end_of_record(data, offset)
            if end is None:
                begin = self._next_record(data, offset + 1, _WIDEST_GAP_BYTES - skipped)
                if begin is None:
                    return Scan(rows, offset, skipped, False, is_torn and skipped > 0)
                gap, offset, skipped = data[offset:begin], begin, skipped + begin - offset
            elif end - offset == len(END):
                is_torn = is_torn and (not gap or self.is_cut(gap, 0))
                return Scan(rows, end, skipped, True, is_torn and skipped > 0)
            else:
                row = self._unpack(data[offset + _FRAME.size : end])
                is_torn, gap = is_torn and not (gap and row[0] > next_seq), b""
                if not next_seq <= row[0] < MOST_SEQ:
                    row = (next_seq, *row[1:])
                rows.append(row)
                offset, next_seq = end, row[0] + 1

    def _end_of_record(self, data: bytes, offset: int) -> int | None:
        """Return where the whole record (or `END`) at a place ends, None where there is none."""
        start = offset + _FRAME.size
        if start > len(data):
            return None
        size, crc = _FRAME.unpack_from(data, offset)
        end = start + size
        if end > len(data) or size < self._struct.size:
            return start if data[offset:start] == END else None
        return end if zlib.crc32(data[start:end]) == crc else None

    def is_cut(self, data: bytes, offset: int) -> bool:
        """Return whether data end in the middle of the record that begins at a place."""
        frame = data[offset : offset + _FRAME.size]
        if len(frame) < _FRAME.size:
            return len(frame) > 0
        size = _FRAME.unpack(frame)[0]
        fits = size == self._struct.size if self.record_size is not None else size >= self._struct.size
        return bool(fits and offset + _FRAME.size + size > len(data))

    def _next_record(self, data: bytes, offset: int, widest: int) -> int | None:
        """Return where the next whole record begins, None where none does."""
        room = _MOST_CHECKED_BYTES
        for at in range(offset, min(len(data) - len(END), offset + widest) + 1):
            size = _FRAME.unpack_from(data, at)[0]
            room -= size if size <= len(data) - at else 0
            if room < 0:
                return None
            if self._end_of_record(data, at):
                return at
        return None

    def _unpack(self, payload: bytes) -> tuple[Any, ...]:
        mask, *values = self._struct.unpack_from(payload)
        offset = self._struct.size
        for i in self._texts:
            length = values[i]
            values[i] = payload[offset : offset + length].decode("utf-8", "replace")
            offset += length
        if mask := mask & ~1:  # an event has a number, whatever a foreign file says
            values = [None if mask >> i & 1 else value for i, value in enumerate(values)]
        return tuple(values)


def _measured(values: list[Any], texts: tuple[int, ...]) -> bytes:
    """Replace the strings among some values by their length in bytes; return the bytes."""
    if len(texts) == 1:
        (at,) = texts
        encoded = str(values[at]).encode("utf-8", "replace")
        values[at] = len(encoded)
        return encoded
    parts = [str(values[at]).encode("utf-8", "replace") for at in texts]
    for at, part in zip(texts, parts, strict=True):
        values[at] = len(part)
    return b"".join(parts)


@cache
def kind_codec(kind: str) -> RecordCodec:
    """Return the codec of a kind's current schema."""
    return RecordCodec(kind, [(c.name, c.type) for c in columns(kind)])


@lru_cache(maxsize=64)
def _codec_of_header(header: str) -> RecordCodec:
    line, _, crc = header.rpartition(" ")
    if f"{zlib.crc32(line.encode()):08x}" != crc:
        raise ValueError("its checksum is wrong")
    kind, fields = line.removeprefix(_MAGIC).split()
    if kind in KINDS and f"{header}\n".encode() == kind_codec(kind).header:
        return kind_codec(kind)
    found = [(n, t) for n, _, t in (field.partition(":") for field in fields.split(","))]
    names = [name for name, _ in found]
    known = {c.name: c.type for c in columns(kind)}
    common = [c.name for c in COMMON]
    if names[: len(common)] != common or len(set(names)) < len(names) or len(names) > _MOST_COLUMNS:
        raise ValueError("its columns are not those of an event")
    if any(known.get(name, of) != of for name, of in found):
        raise ValueError("a column has another type than it should have")
    return RecordCodec(kind, found)


def codec_of_tail(data: bytes) -> tuple[RecordCodec, int]:
    """Return the codec that a tail's own header line describes, and where its records start.

    Raises LogError if the header is torn, damaged or unknown; nothing of the file can be read then.
    """
    end = data.find(b"\n", 0, _MOST_HEADER_BYTES)
    try:
        text = data[: max(end, 0)].decode()
        if end < 0 or not text.startswith(_MAGIC + " "):
            raise ValueError("not a tail header")
        return _codec_of_header(text), end + 1
    except (ValueError, KeyError) as error:
        raise LogError(f"the file does not start with a whole '{_MAGIC} ...' line") from error
