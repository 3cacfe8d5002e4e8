"""Batches that wait in memory or in a file without a name."""

import pyarrow as pa
from thermograd.ingest.importers.rows.spill import Spill


def test_a_batch_comes_back_from_the_file_as_it_was_with_the_names_that_it_has_by_number() -> None:
    names = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["lr", "mfu"]))
    batches = [
        pa.record_batch({"name": names, "value": pa.array([1.5, None, 2.5])}),
        pa.record_batch({"name": names.cast(pa.string()), "text": pa.array(["a", "b", None])}),
    ]
    for in_memory_bytes in (0, batches[0].nbytes, 1 << 20):
        spill = Spill(in_memory_bytes)
        for batch in batches:
            spill.put(batch)
        assert [spill.get(number) for number in range(len(spill))] == batches
        spill.close()
