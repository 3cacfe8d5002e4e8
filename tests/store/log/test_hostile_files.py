"""Files of a run that are not what they seem: bounded memory, or refused, and nothing else is opened."""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thermograd.store.errors import LogError, RunNotFoundError
from thermograd.store.events import arrow_schema
from thermograd.store.files import (
    MOST_SEQ,
    Segment,
    json_damage,
    open_file,
    open_segments,
    strangers,
)
from thermograd.store.log import segments as segments_module
from thermograd.store.log.present.one_file import read_segment
from thermograd.store.log.reader import read_kind
from thermograd.store.log.reading.parquet_layout import row_groups
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.tail_codec import kind_codec
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run, find_run, list_runs
from thermograd.store.runs.names import result_dir

needs_posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")


@pytest.fixture
def run(tmp_path):
    run = create_run(tmp_path / "runs", "x", run_id="x")
    writer = EventWriter(run.path, run.run_id, "w")
    for i in range(40):
        writer.append("step", i, i, step=i)
    writer.close()
    return run


def segment(path, kind):
    last = 99 if path.suffix == ".parquet" else None
    return Segment("q", kind, 0, last, path)


def columns_of(kind, rows, **given):
    """Return the columns of a kind: numbered, null but for what is given."""
    fields = list(arrow_schema(kind))
    numbers = pa.array(range(rows), pa.int64())
    return pa.table(
        {
            f.name: numbers if i < 3 else given.get(f.name, pa.nulls(rows, f.type))
            for i, f in enumerate(fields)
        }
    )


def write_sealed(folder, kind, table, **options):
    path = folder / kind / f"q-{0:012}-{99:012}.parquet"
    path.parent.mkdir()
    pq.write_table(table, path, **{"compression": "zstd", "row_group_size": len(table)} | options)
    return path


MILLION_TEXTS = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 100_000])
SEALED = {
    "a text that is repeated": ("mark", 10_000, {"text": MILLION_TEXTS}, {}),
    "a page of 100 MB": (
        "mark", 1000, {"text": pa.array(["x" * 100_000] * 1000)},
        {"use_dictionary": False, "data_page_size": 1 << 30},
    ),
    "a text told by the one before": (
        "mark", 10, {"text": pa.array(["x" * 1000] * 10)},
        {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
    ),
    "a compression of others": ("step", 10, {}, {"compression": "gzip"}),
    "more rows than a group has": ("step", 1_100_000, {}, {}),
    "a column of another type": ("step", 10, {"loss": pa.array(["x"] * 10)}, {}),
    "a nested column": ("step", 10, {"loss": pa.array([[1.0]] * 10)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("what", SEALED)
def test_a_sealed_file_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path, what):
    kind, rows, given, options = SEALED[what]
    path = write_sealed(tmp_path, kind, columns_of(kind, rows, **given), **options)
    assert path.stat().st_size < 20 << 20
    before = pa.total_allocated_bytes()
    table, damage = read_segment(segment(path, kind))
    assert len(table) == 0
    assert damage.offset is not None
    assert damage.reason
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_of_events_that_are_far_more_than_their_file_holds_a_part_is_read(run):
    folder, rows = run.path / "sealed", 2_000_000
    folder.mkdir()
    encodings = dict.fromkeys(("seq", "time_ns", "monotonic_ns"), "DELTA_BINARY_PACKED")
    options = {"row_group_size": 122_880, "use_dictionary": False, "column_encoding": encodings}
    path = write_sealed(folder, "step", columns_of("step", rows), **options)
    assert path.stat().st_size < 1 << 20
    assert read_kind(run.path, "step").nbytes < 200 << 20
    (entry,) = (e for e in verify_run(run.path)["files"] if "reason" in e)
    assert "far more than files hold" in entry["reason"]


def test_a_footer_with_any_byte_changed_never_ends_the_process(tmp_path):
    """Arrow itself calls abort where a column says that it is encrypted: the footer is read by us first."""
    path = write_sealed(tmp_path, "step", columns_of("step", 20))
    data = path.read_bytes()
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    for at in range(footer, len(data), 11):
        for bit in (0, 3, 6):
            harmed = bytearray(data)
            harmed[at] ^= 1 << bit
            path.write_bytes(bytes(harmed))
            read_segment(segment(path, "step"))


def test_an_encrypted_column_is_refused(tmp_path):
    path = write_sealed(tmp_path, "step", columns_of("step", 20))
    data = path.read_bytes()
    assert [group.rows for group in row_groups(data)] == [20]
    footer = data[len(data) - 8 - struct.unpack("<I", data[-8:-4])[0] : -8]
    end_of_chunk = footer.index(b"\x00\x26", footer.index(b"seq", 200))  # the next one begins
    crypto = footer[:end_of_chunk] + b"\x5c\x1c\x00\x00" + footer[end_of_chunk:]
    path.write_bytes(data[: -8 - len(footer)] + crypto + struct.pack("<I", len(crypto)) + b"PAR1")
    with pytest.raises((ValueError, OSError)):
        SealedFile(path, "step")


def write_stream(folder, kind, batches, schema, **options):
    path = folder / f"{kind}-{0:012}.arrows"
    with path.open("wb") as file, pa.ipc.new_stream(file, schema, **options) as stream:
        for batch in batches:
            stream.write_batch(batch, custom_metadata={"crc32": str(segments_module._crc(batch))})
    return path


def batch_of(kind, rows, **given):
    schema = arrow_schema(kind)
    columns = columns_of(kind, rows, **given)
    return pa.RecordBatch.from_arrays([columns[f.name].combine_chunks() for f in schema], schema=schema)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_decoded(tmp_path, codec):
    batch = batch_of("step", 500_000)
    options = {"options": pa.ipc.IpcWriteOptions(compression=codec)}
    path = write_stream(tmp_path, "step", [batch], batch.schema, **options)
    before = pa.total_allocated_bytes()
    table, damage = read_segment(segment(path, "step"))
    assert (len(table), damage.reason) == (0, "a compressed Arrow batch; thermograd writes none")
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_offsets_that_lead_out_of_a_batch_are_damage(tmp_path, monkeypatch):
    """Who makes a file can also make its checksum: here any is right."""
    monkeypatch.setattr(segments_module, "_crc", lambda batch: 1)
    batch = batch_of("mark", 2, text=pa.array(["ab", "c"]))
    path = write_stream(tmp_path, "mark", [batch], batch.schema)
    good, bad = struct.pack("<iii", 0, 2, 3), struct.pack("<iii", 0, -5, 2**31 - 1)
    assert read_segment(segment(path, "mark"))[0]["text"].to_pylist() == ["ab", "c"]
    path.write_bytes(path.read_bytes().replace(good, bad))
    table, damage = read_segment(segment(path, "mark"))
    assert len(table) == 0
    assert damage


ODD_SCHEMAS = {
    "far too many": [(f"c{i}", pa.int64()) for i in range(2000)],
    "none of ours": [("a", pa.int64())],
    "another type": [*((n, pa.int64()) for n in ("seq", "time_ns", "monotonic_ns")), ("text", pa.int64())],
    "a dictionary": [
        *((n, pa.int64()) for n in ("seq", "time_ns", "monotonic_ns")),
        ("mark", pa.dictionary(pa.int8(), pa.string())),
    ],
    "nested": [("seq", pa.list_(pa.int64())), ("time_ns", pa.int64()), ("monotonic_ns", pa.int64())],
}


@pytest.mark.parametrize("what", ODD_SCHEMAS)
def test_a_stream_of_other_columns_is_damage(tmp_path, what):
    schema = pa.schema(ODD_SCHEMAS[what])
    batch = pa.RecordBatch.from_arrays([pa.nulls(1, f.type) for f in schema], schema=schema)
    path = write_stream(tmp_path, "mark", [batch], schema)
    table, damage = read_segment(segment(path, "mark"))
    assert len(table) == 0
    assert damage.offset == 0


def header(kind, fields):
    line = f"thermograd-tail 2 {kind} {fields}"
    return f"{line} {zlib.crc32(line.encode()):08x}\n".encode()


COMMON = "seq:int64,time_ns:int64,monotonic_ns:int64"
# Made when they are asked for: a million columns take a second.
TAILS = {
    "a record of 4 GB": lambda: kind_codec("mark").header + struct.pack("<II", 0xFFFFFFFF, 0) + b"x" * 1000,
    "a million columns": lambda: header("mark", COMMON + "".join(f",c{i}:float64" for i in range(10**6))),
    "a header without end": lambda: b"thermograd-tail 2 " + b"x" * (1 << 20),
    "no number": lambda: header("mark", "time_ns:int64"),
    "a column twice": lambda: header("mark", f"{COMMON},text:string,text:string"),
    "a text for a number": lambda: header("mark", f"{COMMON},step:string"),
    "an unknown type": lambda: header("mark", f"{COMMON},x:nope"),
    "another kind": lambda: kind_codec("step").header,
    "a kind nobody knows": lambda: header("nope", COMMON),
    "bytes that look like records": lambda: kind_codec("mark").header + struct.pack("<II", 5000, 1) * 200_000,
}


@pytest.mark.parametrize("what", TAILS)
def test_a_tail_that_is_none_is_damage(tmp_path, what):
    path = tmp_path / f"mark-{0:012}.tail"
    path.write_bytes(TAILS[what]() + b"\0" * 100)
    table, damage = read_segment(segment(path, "mark"))
    assert len(table) == 0
    assert damage


def test_numbers_and_texts_of_a_tail_that_cannot_be_are_healed(tmp_path):
    codec = kind_codec("mark")
    nulls = [None] * (len(codec.names) - 3)
    seqs = (2**63 - 1, -5, MOST_SEQ, 7, 3)
    bad = struct.pack("<Q", 0) + codec.pack((9, 9, 9, *nulls))[16:] + b"\xff\xfe"
    records = b"".join(codec.pack((seq, 0, 0, *nulls)) for seq in seqs)
    path = tmp_path / f"mark-{0:012}.tail"
    path.write_bytes(codec.header + records + struct.pack("<II", len(bad), zlib.crc32(bad)) + bad)
    table, _ = read_segment(segment(path, "mark"))
    seq = table["seq"].to_pylist()
    assert seq == sorted(set(seq))
    assert 0 <= seq[0] <= seq[-1] < MOST_SEQ
    assert len(seq) >= len(seqs)


def places(run_dir):
    sealed = run_dir / "sealed" / "step"
    return {
        "run.json": run_dir / "run.json",
        "a writer": run_dir / "writers" / "w.json",
        "open": run_dir / "open",
        "a writer's folder": run_dir / "open" / "w",
        "a tail": run_dir / "open" / "w" / f"step-{0:012}.tail",
        "a stream": run_dir / "open" / "w" / f"step-{0:012}.arrows",
        "sealed": run_dir / "sealed",
        "a kind": sealed,
        "a sealed file": sealed / f"w-{0:012}-{39:012}.parquet",
        "quarantine": run_dir / "quarantine",
        "writers": run_dir / "writers",
    }


THINGS = {
    "a link to a file": lambda path, outside: path.symlink_to(outside / "secret"),
    "a link to a folder": lambda path, outside: path.symlink_to(outside),
    "a link to itself": lambda path, outside: path.symlink_to(path.name),
    "a link to zeros": lambda path, outside: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path, outside: path.symlink_to("/nowhere/at/all"),
    "a pipe": lambda path, outside: os.mkfifo(path),
    "a folder": lambda path, outside: path.mkdir(),
}


@needs_posix
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("place", places(Path()))
def test_what_is_no_file_or_folder_of_the_run_leads_nowhere(tmp_path, run, place, thing):
    outside = tmp_path / "outside"
    for folder in (outside, outside / "w", outside / "step"):
        folder.mkdir()
        for name in ("secret", f"step-{0:012}.tail", ".left.tmp", "w.json"):
            (folder / name).write_text('{"name": "secret", "writer": "w"}')
    path = places(run.path)[place]
    if path.is_dir():
        path.rename(tmp_path / "away")
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    THINGS[thing](path, outside)
    before = {
        file: (file.lstat().st_mtime_ns, file.read_bytes()) for file in outside.rglob("*") if file.is_file()
    }
    assert "secret" not in str(run.summary())
    assert "secret" not in str(run.facts)
    report = verify_run(run.path)
    is_folder_for_folder = thing == "a folder" and path.suffix == ""
    assert report["ok"] is is_folder_for_folder
    with suppress(LogError):
        seal_run(run.path, run.run_id)
    after = {
        file: (file.lstat().st_mtime_ns, file.read_bytes()) for file in outside.rglob("*") if file.is_file()
    }
    assert after == before


JSON = {
    "bottomless": "[" * 10_000,
    "deep": '{"a":' + "[" * 900 + "]" * 900 + "}",
    "a list": "[1]",
    "no text": b"\xff\xfe{",
    "a long number": '{"a": ' + "9" * 100_000 + "}",
    "large": '{"a": "' + "x" * (4 << 20) + '"}',
}


@pytest.mark.parametrize("what", JSON)
def test_facts_that_are_no_facts_are_none_and_verify_says_so(run, what):
    content = JSON[what]
    (run.path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert json_damage(run.path / "run.json")[0] == {}
    assert [path.name for path, _ in strangers(run.path)] == ["run.json"]
    assert run.facts == {}


def test_facts_of_ten_sparse_gigabytes_are_not_read(run):
    with (run.path / "run.json").open("wb") as file:
        file.truncate(10 << 30)
    assert json_damage(run.path / "run.json") == ({}, "larger than 4 MB")


def test_names_that_thermograd_does_not_give_are_left_alone(run):
    names = ["a\nb", "<script>", "..x", "-rf", "\x1b[31m"]
    for name in names:
        folder = run.path / "open" / name
        folder.mkdir()
        (folder / f"step-{0:012}.tail").write_bytes(kind_codec("step").header)
    (run.path / "open" / "w" / f"nope-{0:012}.tail").write_text("x")
    assert {found.writer for found in open_segments(run.path, "tail")} <= {"w"}
    assert len(list(strangers(run.path))) == len(names) + 1
    seal_run(run.path, run.run_id)
    assert sorted(path.name for path in (run.path / "open").iterdir() if path.name != "w") == sorted(names)


@needs_posix
def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        open_file(tmp_path / "pipe")


@pytest.mark.parametrize("reference", ["x" * 5000, "\0", "a/" * 3000, "..", "/dev/null", "~"])
def test_a_reference_that_no_path_can_be_is_one_sentence(tmp_path, run, reference):
    assert [found.run_id for found in list_runs(tmp_path / "runs")] == ["x"]
    with pytest.raises(RunNotFoundError, match="no run"):
        find_run(tmp_path / "runs", reference)


@needs_posix
def test_results_are_not_written_through_a_link(tmp_path, run):
    (tmp_path / "outside").mkdir()
    (run.path / "report").symlink_to(tmp_path / "outside")
    with pytest.raises(LogError, match="is not a directory of the run"):
        result_dir(run.path, "report")
    assert result_dir(run.path, "replays") == run.path / "replays"
