"""Which configuration file is meant: one that is named, or ``thermograd.toml`` in the working directory.

A file can name what the environment holds (``"env:NAME"``) and whom to send it to. What lies in the working
directory is therefore read only if it is ours or root's: in a folder that many write to, such as ``/tmp``,
anybody could have left it.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from thermograd.store.errors import ConfigError

DEFAULT_FILE = "thermograd.toml"


def config_file(environment: Mapping[str, str], named: Path | None = None) -> Path | None:
    """Return `named`, or what ``$THERMOGRAD_CONFIG`` names, or the working directory's; None without any.

    ConfigError, if the working directory's belongs to somebody else.
    """
    if named or environment.get("THERMOGRAD_CONFIG"):
        return named or Path(environment["THERMOGRAD_CONFIG"])
    path = Path(DEFAULT_FILE)
    if not path.is_file():
        return None
    if not _is_trusted(path):
        raise ConfigError(
            f"{path.absolute()} belongs to another user (uid {path.stat().st_uid}) and is not read; "
            "where you trust it, name it: --config FILE, or THERMOGRAD_CONFIG"
        )
    return path


def _is_trusted(path: Path) -> bool:
    """Whether a file is ours or root's; to root, in a container say, a folder of one user is good enough."""
    if not hasattr(os, "geteuid"):
        return True
    owner, user = path.stat().st_uid, os.geteuid()
    if owner in (0, user):
        return True
    return user == 0 and not path.absolute().parent.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX)
