"""A log whose writer could say that it ended, though not end its files: what is torn in them is no damage."""

import errno
import os

from thermograd.store.files import UNFINISHED, read_json, writer_file
from thermograd.store.log import tail_stream
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.log.writer import EventWriter


def test_files_that_a_full_disk_left_torn_are_no_damage(run_dir, monkeypatch):
    writer = EventWriter(run_dir, "r", "w")
    for step in range(10):
        writer.append("step", step=step)

    def full(stream):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tail_stream.TailStream, "finish", full)
    writer.close()
    facts = read_json(writer_file(run_dir, "w"))
    assert facts[UNFINISHED] is True
    assert "closed_time_ns" in facts
    [tail] = (run_dir / "open" / "w").glob("step-*.tail")
    with tail.open("ab") as file:
        file.write(b"\x40\x00\x00")  # the beginning of a record
    assert len(read_kind(run_dir, "step")) == 10
    assert verify_run(run_dir)["ok"]
