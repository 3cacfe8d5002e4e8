"""What the log writes without Arrow is what Arrow would have written: columns, values, checksums."""

import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.ipc
import pytest
from thermograd.store.events import KINDS, arrow_schema, columns
from thermograd.store.log.reading.framing import is_cut, refused_message
from thermograd.store.log.segments import _crc, rows_to_batch
from thermograd.store.log.writing.arrow_bytes import END_OF_STREAM, batch_message, schema_message
from thermograd.store.runs.catalogue import find_run

RUN, WRITER = "größer 1", "w-r0"


def value(draw, of):
    return {
        "int64": draw.choice([0, -(2**63), 2**63 - 1]),
        "uint64": draw.choice([0, 2**64 - 1]),
        "float64": draw.choice([draw.gauss(0, 1), float("nan"), float("-inf"), -0.0]),
        "bool": draw.random() < 0.5,
        "string": draw.choice(["", "é", "x" * 50, "\U0001f600"]),
    }[of]


def rows_of(kind, count, known, seed=0):
    draw = random.Random(seed)
    return [
        tuple(
            value(draw, column.type) if place < 3 or draw.random() < known else None
            for place, column in enumerate(columns(kind))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("known", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_arrow_reads_the_columns_the_values_and_the_checksum_that_it_would_have_written(kind, known):
    batches = [rows_of(kind, count, known, count) for count in (1, 7, 8, 9, 200)]
    data = schema_message(kind, RUN, WRITER)
    data += b"".join(batch_message(kind, rows, lambda: None) for rows in batches) + END_OF_STREAM
    assert refused_message(data) is None
    reader = pa.ipc.open_stream(data)
    assert reader.schema.equals(arrow_schema(kind, RUN, WRITER), check_metadata=True)
    for rows in batches:
        batch, metadata = reader.read_next_batch_with_custom_metadata()
        batch.validate(full=True)
        expected = rows_to_batch(kind, rows)
        assert repr(batch.to_pylist()) == repr(expected.to_pylist())
        assert int(metadata[b"crc32"]) == _crc(batch) == _crc(expected)
    with pytest.raises(StopIteration):
        reader.read_next_batch()


def test_a_stream_that_ends_anywhere_in_a_batch_is_known_as_cut():
    begin = schema_message("mark", RUN, WRITER)
    data = begin + batch_message("mark", rows_of("mark", 3, 0.7), lambda: None)
    assert all(is_cut(data[:end], len(begin)) for end in range(len(begin) + 1, len(data)))
    assert not is_cut(data, len(begin))


def test_a_training_of_any_length_loads_no_library_for_its_log(tmp_path):
    script = """
import sys, thermograd
run = thermograd.start_run(runs=sys.argv[1], agent=False)
for step in range(3000):
    run.step(loss=1.0 / (1 + step))
run.close()
print(run.run_id, *({"pyarrow", "pandas", "numpy"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", script, tmp_path]
    (run_id,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    run = find_run(tmp_path, run_id)
    assert run.counts()["step"] == 3000
    assert [path.suffix for path in run.path.glob("open/*/step-*")] == [".arrows"]
