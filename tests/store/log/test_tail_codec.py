import math
import random

import pytest
from hypothesis import given, settings, strategies as st
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, columns
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run
from thermograd.store.log.segments import tail_rows
from thermograd.store.log.tail import Tail
from thermograd.store.log.tail_codec import END, RecordCodec, codec_of_tail, kind_codec
from thermograd.store.log.writer import EventWriter

_VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float64": st.floats(),
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}


def rows_of(kind):
    common = [_VALUES["int64"]] * 3
    return st.tuples(*common, *(st.none() | _VALUES[c.type] for c in columns(kind)[3:]))


def same(a, b):
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_comes_back_as_it_was(kind):
    codec = kind_codec(kind)

    @given(st.lists(rows_of(kind), max_size=4))
    def check(rows):
        rows = [(seq, *row[1:]) for seq, row in enumerate(rows)]
        data = codec.header + b"".join(codec.pack(row) for row in rows)
        found, start = codec_of_tail(data)
        read = found.scan(data, start).rows
        assert len(read) == len(rows)
        assert all(same(a, b) for x, y in zip(rows, read, strict=True) for a, b in zip(x, y, strict=True))

    check()


def test_a_tail_cut_at_any_byte_gives_a_prefix_of_its_rows():
    codec = kind_codec("alert")
    rows = [(i, i, i, "spike.grad", "warning", i, None, *[None] * 7, f"µ{i}") for i in range(5)]
    records = [codec.pack(row) for row in rows]
    data = b"".join(records)
    ends = [sum(map(len, records[: i + 1])) for i in range(5)]
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in ends)
        assert codec.scan(data[:cut]).rows == rows[:whole]


def test_a_flipped_bit_is_never_read_as_another_value():
    codec = kind_codec("step")
    row = (0, 1, 2, 3, 0, 0.5, 2.0, 1.5, None, 1e-3, 0.1, False, None)
    record = codec.pack(row)
    for bit in range(len(record) * 8):
        harmed = bytearray(record)
        harmed[bit // 8] ^= 1 << bit % 8
        assert codec.scan(bytes(harmed)).rows == []


def numbered(kind, numbers):
    """Return the records of a kind that say to have these numbers; their times are their places."""
    codec = kind_codec(kind)
    return [
        codec.pack((seq, place, 0, *[None] * (len(codec.names) - 3))) for place, seq in enumerate(numbers)
    ]


def read_both_ways(kind, data):
    """Return (seq, time) of a tail's records and the bytes that are none, as both readers give them."""
    codec = kind_codec(kind)
    scan = codec.scan(data, 0, 5)
    batch, *rest = tail_rows(codec, data, 0, 5)
    assert rest == list(scan[1:])
    read = list(zip(batch["seq"].to_pylist(), batch["time_ns"].to_pylist(), strict=True))
    assert read == [row[:2] for row in scan.rows]
    return read, scan.skipped


@pytest.mark.parametrize("kind", ["step", "mark"])
def test_a_number_that_was_written_twice_is_counted_on(kind):
    records = numbered(kind, [5, 6, 6, 7, 7, 10])
    assert read_both_ways(kind, b"".join(records)) == ([(5, 0), (6, 1), (7, 2), (8, 3), (9, 4), (10, 5)], 0)


@pytest.mark.parametrize("kind", ["step", "mark"])
def test_a_number_that_a_stranger_has_left_out_is_counted_on(kind):
    assert read_both_ways(kind, b"".join(numbered(kind, [6, None, 9]))) == ([(6, 0), (7, 1), (9, 2)], 0)


@pytest.mark.parametrize("kind", ["step", "mark"])
@pytest.mark.parametrize("torn", [1, 7, 8, 20])
def test_what_follows_a_torn_record_is_read(kind, torn):
    a, b, c, d = numbered(kind, [5, 6, 6, 7])
    read, skipped = read_both_ways(kind, a + b[:torn] + c + b[:torn] + d)
    assert read == [(5, 0), (6, 2), (7, 3)]
    assert skipped == 2 * torn


@pytest.mark.parametrize("kind", ["step", "mark"])
def test_what_stands_behind_the_end_does_not_count(kind):
    a, b, c = numbered(kind, [5, 6, 7])
    assert read_both_ways(kind, a + b + END + c) == ([(5, 0), (6, 1)], 0)
    assert kind_codec(kind).scan(a + END).ended


def test_a_value_that_does_not_fit_its_column_is_refused():
    with pytest.raises(Exception, match="required argument|must be real number|argument"):
        kind_codec("step").pack((0, 0, 0, "three", *[None] * 9))


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"thermograd-tail 2 step seq:int64", b"thermograd-tail 2 x y 00000000\n"]
)
def test_a_tail_without_its_header_line_says_so(data):
    with pytest.raises(LogError, match="header|start with"):
        codec_of_tail(data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_comes_back_from_the_live_log_and_from_sealed_files(kind, tmp_path_factory):
    names = [column.name for column in columns(kind)]

    @settings(max_examples=12, deadline=None)
    @given(st.lists(rows_of(kind), min_size=1, max_size=9))
    def check(rows):
        run_dir = tmp_path_factory.mktemp("run")
        writer = EventWriter(run_dir, "r", "w", (kind,), batch_rows=4)
        for _, time_ns, monotonic_ns, *rest in rows:
            values = dict(zip(names[3:], rest, strict=True))
            assert writer.append(kind, time_ns, monotonic_ns, **values) is not None
        writer.close()
        expected = [(i, *row[1:]) for i, row in enumerate(rows)]
        live = [tuple(event[name] for name in names) for event in read_kind(run_dir, kind).to_pylist()]
        assert seal_run(run_dir, "r").events == {kind: len(rows)}
        sealed = [tuple(event[name] for name in names) for event in read_kind(run_dir, kind).to_pylist()]
        for read in (live, sealed):
            assert len(read) == len(expected)
            assert all(
                same(a, b) for x, y in zip(expected, read, strict=True) for a, b in zip(x, y, strict=True)
            )

    check()


def _spoilt(record):
    return record[:-1] + bytes([record[-1] ^ 1])


@pytest.mark.parametrize("kind", ["step", "mark"])
@pytest.mark.parametrize("torn", [1, 7, 8, 20])
def test_a_write_that_failed_half_way_is_told_from_a_record_that_is_spoilt(kind, torn):
    a, b, c = numbered(kind, [5, 6, 7])
    scan = kind_codec(kind).scan
    harmless = [a + b[:torn] + END, a + b[:torn] + b + c, b[:torn] + a + b[:torn] + END]
    assert [scan(data, 0, 5)[2:] for data in harmless] == [
        (torn, True, True),
        (torn, False, True),
        (2 * torn, True, True),
    ]
    harmful = [
        a + _spoilt(b) + END,
        a + _spoilt(b) + c,
        a + b[:torn] + c,
        a + b[:torn] + b + _spoilt(c) + END,
    ]
    assert not [data for data in harmful if scan(data, 0, 5).is_torn]
    assert not scan(a + b + END, 0, 5).is_torn


def record_or_error(pack, *event):
    try:
        return pack(*event)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_written_alike_whatever_was_logged_before_it(kind, tmp_path):
    """`Tail.append` packs what is like the event before without a call; what that cannot, the codec does."""
    columns_of = {column.name: column.type for column in columns(kind)[3:]}
    fits = {"int64": 5, "uint64": 2**64 - 1, "float64": -0.5, "bool": True, "string": "ü"}
    names = [*columns_of]
    orders = [names, names[::-1], names[:1], names[1:], names[:2], []]
    events = [{name: fits[columns_of[name]] for name in order} for order in orders]
    events += [events[0] | {name: None} for name in names]
    events += [dict.fromkeys(names), events[0] | {"nonsense": 1}, {"nonsense": 1}]
    events += [events[0] | {name: bad} for name in names for bad in (object(), 2**70, 10**400)]
    draw = random.Random(kind)
    for _ in range(3):
        draw.shuffle(events)
        tail = Tail(tmp_path, kind)
        for event in events * 2:
            fresh = RecordCodec(kind, [(column.name, column.type) for column in columns(kind)])
            before = tail.known
            expected = record_or_error(fresh.pack_values, before[0], 3, 4, event)
            assert record_or_error(tail.append, 3, 4, event) == (
                before[0] if isinstance(expected, bytes) else expected
            )
            assert tail.content(before[1]) == (expected if isinstance(expected, bytes) else b"")
        tail.close()


def test_events_that_take_turns_in_their_columns_ask_for_no_signal_handlers(tmp_path, monkeypatch):
    """To ask whose an error is takes as long as fifty events."""
    monkeypatch.setattr("thermograd.store.log.tail.is_the_users", lambda _: pytest.fail("it asked"))
    tail = Tail(tmp_path, "step", 0)
    for step in range(4):
        tail.append(1, 1, {"step": step, ("loss", "grad_norm")[step % 2]: 0.5})
    tail.append(1, 1, {"step": 4, "loss": None})
    assert tail.rows == 5
    tail.close()
