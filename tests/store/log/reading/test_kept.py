"""What was found in files counts only while they are the files that were looked at."""

import json
import os
import stat
import sys

import pytest
from thermograd.store.errors import PlaceError
from thermograd.store.log.reading.kept import Kept, identity
from thermograd.store.places.cache import kept_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "runs" / "a" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def settled(monkeypatch):
    """Take files of now as old enough: who changes them in a test changes their size or inode, too."""
    monkeypatch.setattr("thermograd.store.log.reading.kept._FRESH_NS", -1)


def kept_of(file, topic="sizes"):
    return Kept(file.parents[1], topic)


def keep(file, value=3):
    kept = kept_of(file)
    kept.put("a", identity([file]), value)
    kept.save()


def found(file):
    return kept_of(file).get("a", identity([file]))


def test_a_value_is_there_the_next_time(file, settled):
    keep(file, {"rows": [1, None, 2.5], "name": "ü"})

    assert found(file) == {"rows": [1, None, 2.5], "name": "ü"}
    assert kept_of(file, "others").get("a", identity([file])) is None
    assert Kept(file.parent, "sizes").get("a", identity([file])) is None


def overwritten(path):
    path.write_bytes(b"abcd")


def replaced(path):
    times = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"xyz")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, path)


def older(path):
    os.utime(path, (1, 1))


def linked(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize("change", [overwritten, replaced, older, linked, os.unlink])
def test_a_file_that_changed_has_no_value(file, change, settled):
    keep(file)
    change(file)

    assert found(file) is None


def test_of_a_file_that_changed_just_now_nothing_is_kept(file, monkeypatch):
    monkeypatch.setattr("thermograd.store.log.reading.kept._FRESH_NS", 3600 * 10**9)  # however slow this is
    keep(file)
    assert found(file) is None
    assert not kept_folder().exists()


def test_what_no_file_told_counts_until_it_is_there(file, settled):
    file.unlink()
    keep(file)
    assert found(file) == 3

    file.write_bytes(b"")
    assert found(file) is None


def test_a_value_can_know_its_files(file, settled):
    kept = kept_of(file)
    kept.put_with_files("a", ["a", "a/file"], identity([file.parent, file]), "found")
    kept.save()
    assert kept_of(file).get_with_files("a", file.parents[1]) == "found"
    assert kept_of(file).get_with_files("b", file.parents[1]) is None

    (file.parent / "another").touch()
    assert kept_of(file).get_with_files("a", file.parents[1]) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"of": 1}', b"[" * 100_000, b'{"of": [], "entries": {}}']
)
def test_a_damaged_cache_is_an_empty_one_and_is_written_anew(file, content, settled):
    keep(file)
    (path,) = kept_folder().iterdir()
    path.write_bytes(content)

    assert found(file) is None
    keep(file)
    assert found(file) == 3


def test_no_bit_of_what_is_kept_can_change_unseen(file, settled):
    keep(file, {"steps": 144})
    (path,) = kept_folder().iterdir()
    content = path.read_bytes()
    for at in range(content.index(b"\n") + 1, len(content)):
        for bit in (0, 3):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            assert found(file) is None, (at, bit)
    path.write_bytes(content)
    assert found(file) == {"steps": 144}


def test_what_another_version_found_does_not_count(file, settled, monkeypatch):
    keep(file)
    monkeypatch.setattr("thermograd.store.log.reading.kept.__version__", "another")

    assert found(file) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_another_users_cache_does_not_count(file, settled, monkeypatch):
    keep(file)
    monkeypatch.setattr("os.getuid", lambda: os.stat(file).st_uid + 1)

    assert found(file) is None


def test_a_cache_that_cannot_be_written_is_none(file, settled, monkeypatch, tmp_path):
    (tmp_path / "no folder").write_bytes(b"")
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "no folder"))

    keep(file)

    assert found(file) is None


@pytest.mark.skipif(sys.platform == "win32", reason="keeps it by LOCALAPPDATA")
def test_a_home_directory_that_is_not_there_is_not_made_and_nothing_is_kept(
    file, settled, monkeypatch, tmp_path
):
    for name in ("THERMOGRAD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    keep(file)
    assert found(file) is None
    assert not (tmp_path / "home").exists()
    with pytest.raises(PlaceError, match="^there is no home directory .*; THERMOGRAD_CACHE names another"):
        kept_folder()

    (tmp_path / "home").mkdir()
    keep(file)
    assert found(file) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="keeps it by LOCALAPPDATA")
def test_a_home_that_may_not_be_looked_at_is_none(file, settled, monkeypatch):
    for name in ("THERMOGRAD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/" + "x" * 300)  # fails for root, too
    keep(file)
    assert found(file) is None


def test_a_user_without_a_home_keeps_nothing(file, settled, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("THERMOGRAD_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", home)

    keep(file)
    assert found(file) is None


def test_a_value_that_json_cannot_hold_is_not_kept_and_harms_no_other(file, settled):
    keep(file)
    kept = kept_of(file)
    kept.put("b", identity([file]), object())
    kept.save()

    assert found(file) == 3


def test_the_cache_is_its_users_own_and_holds_what_was_used_last(file, settled, monkeypatch):
    monkeypatch.setattr("thermograd.store.log.reading.kept._MOST_ENTRIES", 2)
    kept = kept_of(file)
    for name in "abca":
        kept.put(name, identity([file]), name)
    kept.save()

    (path,) = kept_folder().iterdir()
    assert list(json.loads(path.read_bytes().partition(b"\n")[2])) == ["c", "a"]
    if os.name == "posix":
        assert stat.S_IMODE(kept_folder().stat().st_mode) == 0o700


def test_of_very_many_folders_only_those_written_last_are_kept(file, settled, monkeypatch, tmp_path):
    monkeypatch.setattr("thermograd.store.log.reading.kept._MOST_FILES", 2)
    for number in range(3):
        kept = Kept(tmp_path / str(number), "sizes")
        kept.put("a", identity([file]), number)
        kept.save()
        for path in kept_folder().iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))

    assert [Kept(tmp_path / str(n), "sizes").get("a", identity([file])) for n in range(3)] == [None, 1, 2]
