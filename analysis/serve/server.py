"""The server: where it listens, who may ask, what it says once it listens, and how it ends."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from thermograd.analysis.serve.app import build_app
from thermograd.analysis.serve.listing import listing_of
from thermograd.analysis.serve.security import LOOPBACK, Allowed
from thermograd.analysis.serve.serving import Serving
from thermograd.store.errors import ServeError
from thermograd.store.files import is_folder, write_file
from thermograd.store.listening.addresses import bracketed, listening_socket
from thermograd.store.listening.connections import BoundedProtocol
from thermograd.store.listening.tokens import given_token, new_token
from thermograd.store.locks import ProcessLock, is_held
from thermograd.store.places.known import local_runs
from thermograd.store.places.place import place_of

TOKEN = "THERMOGRAD_SERVE_TOKEN"
_ENDING_S = 1
_BACKLOG = 256
_MOST_FILES = 4096  # open ones: connections, and what is read for them
_OWN = "thermograd-serve-"
_PORT = 7860


@dataclass(frozen=True)
class Doors:
    """Where the server listens and who may ask.

    Attributes
    ----------
    host, port
        An address or name of this machine; without a port 7860, or another that is free.
    token_file
        A file with the token; else ``$THERMOGRAD_SERVE_TOKEN``.
    asks
        Ask for a token at a loopback address, too; elsewhere it always does.
    names
        By which else the server may be called.
    opens
        Open the page in this machine's browser.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    token_file: Path | None = None
    asks: bool = False
    names: Sequence[str] = ()
    opens: bool = False


def serve_runs(runs: Path, doors: Doors, told: Callable[[str], None]) -> None:
    """Serve a place of runs until Ctrl-C.

    Parameters
    ----------
    runs
        A folder of runs, or a URL.
    doors
        Where to listen, and who may ask.
    told
        Takes what is said to the person at the terminal.

    Raises
    ------
    ServeError
        If the address is taken, is none of this machine's, or the token is too short.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the own folder is removed
    token = given_token(TOKEN, doors.token_file)
    with listening(doors.host, doors.port) as listener, _own_folder() as own:
        host, port = listener.getsockname()[:2]
        is_open = not ip_address(host).is_loopback
        if token is None and (is_open or doors.asks):
            token = new_token()
        allowed = Allowed(_names(host, doors), token)
        app = build_app(Serving(runs, local_runs(runs), own), allowed)
        url = _url(doors.host if is_open else host, port, token)

        def begun() -> None:
            told(f"Serving {place_of(runs).url} at {url} (Ctrl-C ends it)")
            threading.Thread(target=listing_of(app.state.serving).rows.warm, daemon=True).start()
            if doors.opens:
                _open_browser(url, own)

        with contextlib.suppress(KeyboardInterrupt):
            _Server(app, begun).run([listener])


class _Server(uvicorn.Server):
    def __init__(self, app: Any, begun: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app, http=BoundedProtocol, ws="none", lifespan="off", backlog=_BACKLOG,
                log_config=None, log_level="critical", access_log=False,
                proxy_headers=False, server_header=False, timeout_graceful_shutdown=_ENDING_S,
            )
        )  # fmt: skip
        self._begun, self._ending = begun, app.state.ending.set

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()  # streams of events end by themselves
        await super().shutdown(sockets=sockets)


def _names(host: str, doors: Doors) -> frozenset[str]:
    """Return what the server may be called: at an address of all interfaces by each of the machine's."""
    names = {*LOOPBACK, *map(_shown, (host, doors.host)), *map(str.lower, doors.names)}
    if ip_address(host).is_unspecified:
        import psutil

        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        addresses = [a for of_one in psutil.net_if_addrs().values() for a in of_one]
        families = (socket.AF_INET, socket.AF_INET6)
        names |= {_shown(a.address.partition("%")[0]) for a in addresses if a.family in families}
    return frozenset(names)


def _shown(host: str) -> str:
    return bracketed(host.lower())


def _url(host: str, port: int, token: str | None) -> str:
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{_shown(host)}:{port}/" + (f"?token={token}" if token else "")


def _open_browser(url: str, own: Path) -> None:
    """Open the page; an address with a token goes through a file, as everybody may see a command's words."""
    if "?" in url:
        page = own / "open.html"
        write_file(page, f'<!doctype html><meta http-equiv="refresh" content="0; url={url}">'.encode())
        url = page.as_uri()
    webbrowser.open(url)


def listening(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens; ServeError where the address is taken, or none of this machine."""
    _allow_files()
    refused: OSError | None = None
    for tried in (_PORT, 0) if port is None else (port,):
        try:
            return listening_socket(host, tried, _BACKLOG)
        except OSError as error:
            refused = error
    assert refused is not None
    why = refused.strerror or refused
    raise ServeError(f"cannot listen at {host}, port {port or _PORT}: {why}; give another --port or --host")


def _allow_files() -> None:
    """Allow as many open files as connections may need, where the system lets us."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Give a folder that nobody else may read, until the server ends; remove what killed servers left."""
    for left in Path(tempfile.gettempdir()).glob(f"{_OWN}*"):
        with contextlib.suppress(OSError):
            is_ours = sys.platform == "win32" or left.lstat().st_uid == os.getuid()
            if is_ours and is_folder(left) and is_held(left / "serve.lock") is False:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_OWN, ignore_cleanup_errors=True) as own:
        lock = ProcessLock(Path(own), "serve")
        lock.acquire()
        try:
            yield Path(own)
        finally:
            lock.release()
