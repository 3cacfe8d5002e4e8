"""Where a run that goes to a URL is written first: an ordinary folder of runs, and beside them the URL.

::

    <spool>/<host>/<url as a name>/target.json    where its runs go
                                   <run_id>/...   a run as any other, and shipping.json: how far it has come

A training process takes its part in shipping here, and ends there: all of it is paths and one small file.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import is_folder, read_json, write_json
from thermograd.store.places.place import fault_of, folder_of, is_url, without_credentials
from thermograd.store.processes import host_label
from thermograd.store.runs.catalogue import Run
from thermograd.store.shipping.handover import TARGET
from thermograd.store.shipping.progress import shipping_line
from thermograd.store.text import slug

_LONGEST_NAME = 60


def local_runs(runs: str | Path) -> Path:
    """Return the local folder that the runs of a folder, or of a URL, are written to.

    What is at a ``file://`` is written there at once. Raises LogError where no folder can be made for a URL.
    """
    if not is_url(runs):
        return Path(runs)
    return folder_of(canonical(str(runs))) or spool_for(str(runs))


def spool_for(url: str) -> Path:
    """Return the folder of this host for the runs of a URL, made where missing. LogError if it cannot be."""
    shown = canonical(url)
    errors: list[OSError] = []
    for root in _roots():
        folder = root / host_label() / _name_of(shown)
        try:
            if read_json(folder / TARGET).get("url") != shown:
                write_json(folder / TARGET, {"url": shown})
            if os.access(folder, os.W_OK):
                return folder
        except OSError as error:
            errors.append(error)
    with os_errors_as(LogError, "no folder for what is to be shipped; name one by THERMOGRAD_SPOOL"):
        raise errors[0] if errors else PermissionError("no folder can be written")


def canonical(url: str) -> str:
    """Return a URL as it is kept: without credentials, and without the slash at its end.

    Examples
    --------
    >>> canonical("s3:/bucket/runs/")  # what pathlib makes of it
    's3://bucket/runs'
    """
    if not is_url(url):
        return url
    scheme, _, rest = without_credentials(url).partition("://")
    return f"{scheme}://{rest.rstrip('/') or rest[:1]}"


def trouble_with(url: str) -> str | None:
    """Return why nothing can be shipped to a URL from here, as a sentence; None where that is not known.

    Asks no network, and loads no client of a store: for the training process, whose events are kept anyway.
    """
    shown = canonical(url)
    if not is_url(url):
        return f"{fault}; it is taken for a folder" if (fault := fault_of(url)) else None
    scheme = shown.partition("://")[0]
    kept = "what is recorded is kept here, and thermograd ship sends it later"
    if fault := fault_of(url):
        return f"{fault}; what is recorded is kept here, and thermograd ship RUN URL sends it elsewhere"
    if scheme != "file" and find_spec("obstore") is None:
        return f"{shown} needs the package obstore; pip install 'thermograd[cloud]' installs it; {kept}"
    if re.sub("/+", "/", shown) != re.sub("/+", "/", url.rstrip("/")):
        return f"{shown}: credentials in an address are not used; they belong in the environment"
    return None


def target_of(run_dir: Path) -> str | None:
    """Return the URL that a run goes to; None for one of an ordinary folder."""
    url = read_json(run_dir.parent / TARGET).get("url")
    return url if isinstance(url, str) and is_url(url) else None


def spools(url: str | None = None) -> Iterator[tuple[str, Path]]:
    """Iterate over the spool folders of this machine, of every host name that it had, with their URLs.

    `url`: only those of this one.
    """
    wanted = None if url is None else canonical(url)
    for root in _roots():
        for folder in sorted(root.glob(f"*/*/{TARGET}")):
            found = read_json(folder).get("url")
            if is_folder(folder.parent) and isinstance(found, str) and wanted in (None, found):
                yield found, folder.parent


def shipping_of(run: Run) -> str | None:
    """Return how far the shipping of a run from this machine has come, in words, wherever the run is read."""
    folders = (folder / run.run_id for _, folder in spools())
    return next((line for path in (run.path, *folders) if (line := shipping_line(path))), None)


def _name_of(url: str) -> str:
    return f"{slug(url.replace('://', '-'), _LONGEST_NAME)}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _roots() -> list[Path]:
    """Return the folders of all spools: the one to use, and one for where that cannot be written."""
    if given := os.environ.get("THERMOGRAD_SPOOL"):
        return [Path(given).absolute()]
    roots = []
    with suppress(RuntimeError):  # no home
        roots.append(_state_dir() / "thermograd" / "spool")
    who = os.getuid() if hasattr(os, "getuid") else "user"
    return [*roots, Path(tempfile.gettempdir()).absolute() / f"thermograd-spool-{who}"]


def _state_dir() -> Path:
    """Return where the platform keeps what must outlast a cleaning of caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
