"""Small files are written whole or not at all; what is no file stays what it is."""

import os
import stat

import pytest
from thermograd.store.files import write_file


def test_what_is_written_stands_in_the_place_of_a_file(tmp_path):
    write_file(tmp_path / "f", b"old")
    write_file(tmp_path / "f", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new")]


def test_a_pipe_and_a_device_stay_what_they_are(tmp_path):
    """Root could put a file in the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    for name in ("pipe", "device"):
        with pytest.raises(FileExistsError, match="a device or a pipe, not a file"):
            write_file(tmp_path / name, b"")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "device").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2
