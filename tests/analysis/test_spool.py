"""What is put on the disk comes back as often as it is asked for; without a disk it stays in memory."""

import gc
import os
import tempfile
from types import SimpleNamespace

import pyarrow as pa
import pytest
from thermograd.analysis import spool as spool_module
from thermograd.analysis.spool import Kept, Spool

_GIVEN = [b"first", b"", bytes(range(256)) * 1000]


def _kept() -> list[Kept]:
    spool = Spool()
    return [spool.keep(pa.py_buffer(each)) for each in _GIVEN]


def _read(kept: list[Kept]) -> list[bytes]:
    return [each.opened().read() for each in kept]


def test_everything_comes_back_again_and_again():
    kept = _kept()
    assert _read(kept) == _GIVEN == _read(kept)


def test_a_part_is_read_from_where_it_is_sought():
    file = _kept()[2].opened()
    assert file.seek(-2, os.SEEK_END) == 255_998
    assert (file.read(10), file.read(10)) == (b"\xfe\xff", b"")
    assert file.seek(3) == file.tell() == 3
    assert (file.read(2), file.seek(1, os.SEEK_CUR)) == (b"\x03\x04", 6)


def test_without_a_folder_for_it_memory_stands_for_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert _read(_kept()) == _GIVEN


def test_where_the_disk_is_full_memory_stands_for_it(monkeypatch: pytest.MonkeyPatch):
    spool = Spool()
    before = spool.keep(pa.py_buffer(_GIVEN[0]))

    def full(*given: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(spool_module, "os", SimpleNamespace(**vars(os) | {"pwrite": full}))
        inside = spool.keep(pa.py_buffer(_GIVEN[2]))
    after = spool.keep(pa.py_buffer(b"after"))
    assert _read([before, inside, after]) == [_GIVEN[0], _GIVEN[2], b"after"]


def test_the_file_has_no_name_and_ends_with_what_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = _kept()
    number = kept[0].file.number  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
    before = os.fstat(number)
    assert before.st_size == sum(map(len, _GIVEN))
    del kept
    gc.collect()
    try:
        now = os.fstat(number)
    except OSError:
        return
    assert not os.path.samestat(now, before)  # another thread has opened a file under that number
