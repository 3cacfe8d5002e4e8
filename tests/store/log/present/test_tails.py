"""What tails tell without Arrow is what a snapshot tells, whatever stands in them and beside them."""

import random
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pytest
from thermograd.store.events import columns
from thermograd.store.files import MOST_SEQ, open_segments
from thermograd.store.log.present import snapshots, tails
from thermograd.store.log.present.snapshots import count_by_writer, told_by_tails
from thermograd.store.log.segments import rows_to_batch, write_parquet
from thermograd.store.log.tail_codec import END, RecordCodec, kind_codec
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs import last_values as last_values_module
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.last_values import last_values


def told_of(run_dir, kind):
    return count_by_writer(run_dir, kind), last_values(run_dir, kind, VALUES[kind])


VALUES = {"step": "loss", "mark": "text"}


def row(kind, chance, seq, odd):
    known = {
        "int64": chance.randrange(5),
        "uint64": 7,
        "float64": chance.random(),
        "bool": True,
        "string": "ü",
    }
    values = [known[column.type] if chance.random() < 0.6 else None for column in columns(kind)]
    values[:3] = [seq, chance.randrange(10**6), 5]
    if odd and chance.random() < 0.05:
        values[chance.choice((1, 2))] = None
    return values


def tail(kind, chance, first, odd):
    """Return a tail with all that a kill, a full disk, two appends at once or a stranger leave."""
    codec = kind_codec(kind)
    if chance.random() < 0.2:  # of an earlier version
        fields = [(column.name, column.type) for column in columns(kind)]
        codec = RecordCodec(kind, [*fields[:4], *(each for each in fields[4:] if chance.random() < 0.7)])
    names = [column.name for column in columns(kind)]
    data, seq = codec.header, first
    for _ in range(chance.randrange(12)):
        seq += chance.choice((0, 1, 1, 1, 1, 1, 3, -2))
        values = dict(zip(names, row(kind, chance, max(seq, 0), odd), strict=True))
        record = codec.pack([values[name] for name in codec.names])
        if chance.random() < 0.1:
            record = record[: chance.randrange(len(record))]
        elif chance.random() < 0.05:
            record = bytearray(record)
            record[chance.randrange(len(record))] ^= 4
        data += record
    data += chance.choice((b"", b"", END, END + b"rest", b"\0" * 9, codec.pack(row_of(codec, seq))[:-3]))
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data) + 1)]
    return chance.choice((data,) * 15 + (b"garbage\n", b"")), seq


def row_of(codec, seq):
    return [seq, 1, 1, *(None for _ in codec.names[3:])]


def built(run_dir, kind, seed):
    chance = random.Random(f"{kind} {seed}")
    for writer in ("a-r1-1-aa", "b-r0-2-bb", "c"):
        folder, seq = run_dir / "open" / writer, chance.randrange(3)
        folder.mkdir(parents=True)
        for _ in range(chance.randrange(3)):
            named = chance.choice((kind,) * 9 + ("sample",))
            data, last = tail(kind, chance, seq, odd=seed % 3 == 0)
            (folder / f"{named}-{seq:012}.tail").write_bytes(data)
            seq = max(seq + 1, last + chance.choice((0, 1, 1, -2)))
        for _ in range(chance.choice((0, 0, 1, 2))):
            first = chance.randrange(15)
            rows = [
                row(kind, chance, number, False) for number in range(first, first + 1 + chance.randrange(8))
            ]
            table = pa.Table.from_batches([rows_to_batch(kind, rows)])
            path = run_dir / "sealed" / kind / f"{writer}-{first:012}-{rows[-1][0]:012}.parquet"
            write_parquet(path, table, kind)


@pytest.mark.parametrize("kind", ["step", "mark"])  # records of one size, and with texts
def test_counts_and_last_values_are_those_of_arrow(tmp_path, monkeypatch, kind):
    told, counts = 0, Counter()
    for seed in range(45):
        run_dir = tmp_path / f"{kind}{seed}"
        built(run_dir, kind, seed)
        expected = told_of(run_dir, kind)
        with monkeypatch.context() as without_arrow:
            for module in (snapshots, last_values_module):
                without_arrow.setattr(module, "tails_pay", lambda: True)
            assert repr(told_of(run_dir, kind)) == repr(expected), seed
        counts += expected[0]
        told += told_by_tails(run_dir, kind) is not None
    assert 20 < told < 45, "both ways were tried"
    assert counts.total() > 200


@pytest.mark.parametrize("kind", ["step", "mark"])
def test_an_event_whose_number_no_name_of_a_file_can_hold_is_not_counted(tmp_path, monkeypatch, kind):
    codec = kind_codec(kind)
    (tmp_path / "open" / "w").mkdir(parents=True)
    records = [codec.pack(row_of(codec, seq)) for seq in (0, MOST_SEQ - 1, MOST_SEQ)]
    (tmp_path / "open" / "w" / f"{kind}-{0:012}.tail").write_bytes(codec.header + b"".join(records))
    assert count_by_writer(tmp_path, kind) == {"w": 2}
    monkeypatch.setattr(snapshots, "tails_pay", lambda: True)
    assert count_by_writer(tmp_path, kind) == {"w": 2}


def test_beside_streams_tails_tell_nothing_alone(tmp_path):
    log = EventWriter(tmp_path, "r", "w", batch_rows=10)
    for step in range(25):
        log.append("step", step=step, loss=float(step))
    while not open_segments(tmp_path, "arrows"):
        log._wake.put(None)
    assert told_by_tails(tmp_path, "step") is None
    assert count_by_writer(tmp_path, "step") == {"w": 25}
    log.close()


def test_a_process_that_has_arrow_or_has_scanned_much_reads_by_it(monkeypatch):
    monkeypatch.setattr(tails, "_scanned", {"bytes": tails._MOST_BYTES - 1})
    assert not tails.tails_pay(), "these tests have loaded it"
    monkeypatch.setattr(tails, "sys", SimpleNamespace(modules={}))
    assert tails.tails_pay()
    tails._scanned["bytes"] += 1
    assert not tails.tails_pay()


def test_what_is_asked_of_a_young_run_loads_no_arrow(tmp_path):
    run = create_run(tmp_path, "young")
    log = EventWriter(run.path, run.run_id, "host-r0-1-aaaaaa")
    for step in range(3):
        log.append("step", step=step, loss=step / 2, rank=0)
    code = "import sys; from thermograd.cli import main; main(sys.argv[1:], standalone_mode=False); "
    code += "print(*{'pyarrow', 'numpy'} & set(sys.modules), file=sys.stderr, end='')"
    command = [sys.executable, "-c", code, "--runs", str(tmp_path), "runs", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    log.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert '"steps": 3,' in done.stdout
    assert '"loss": 1.0,' in done.stdout
