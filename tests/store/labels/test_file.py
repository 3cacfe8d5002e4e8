"""Which configuration is read: never one that somebody else left where we stand."""

import os
import sys
from pathlib import Path

import pytest
from thermograd.store.errors import ConfigError
from thermograd.store.labels import file
from thermograd.store.labels.file import config_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owner of a file to ask for")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thermograd.toml").write_text("")
    return tmp_path


def as_user(monkeypatch, user, owner):
    """Be `user`, and let every file belong to `owner`."""
    stat_of = os.stat
    monkeypatch.setattr(file.os, "geteuid", lambda: user)
    monkeypatch.setattr(
        Path, "stat", lambda path, **_: os.stat_result([*stat_of(path)[:4], owner, *stat_of(path)[5:]])
    )


@pytest.mark.parametrize(
    ("user", "owner", "mode"), [(1, 1, 0o1777), (1, 0, 0o1777), (0, 0, 0o777), (0, 1, 0o755)]
)
def test_ours_and_roots_are_read_and_root_reads_a_users(here, monkeypatch, user, owner, mode):
    here.chmod(mode)
    as_user(monkeypatch, user, owner)
    assert config_file({}) == Path("thermograd.toml")


@pytest.mark.parametrize(("user", "owner", "mode"), [(1, 2, 0o755), (0, 1, 0o1777)])
def test_another_users_is_refused_unless_it_is_named(here, monkeypatch, user, owner, mode):
    here.chmod(mode)
    as_user(monkeypatch, user, owner)
    with pytest.raises(ConfigError, match="belongs to another user .uid [12].*--config"):
        config_file({})
    assert config_file({"THERMOGRAD_CONFIG": "thermograd.toml"}) == Path("thermograd.toml")
    assert config_file({"THERMOGRAD_CONFIG": "other"}, Path("named")) == Path("named")
