"""The server: where it listens, what it says once it does, and how it ends."""

import contextlib
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from thermograd.analysis.serve.app import build_app
from thermograd.analysis.serve.security import Allowed
from thermograd.analysis.serve.serving import Serving
from thermograd.store.errors import ServeError
from thermograd.store.places.known import local_runs

_ENDING_S = 1


@dataclass(frozen=True)
class Address:
    """Where the server listens."""

    host: str
    port: int


def serve_runs(runs: Path, host: str, port: int | None, stream: Any, told: Callable[[str], None]) -> None:
    """Serve a place of runs until Ctrl-C.

    Parameters
    ----------
    runs
        A folder of runs, or a URL.
    host, port
        Where to listen; without a port at 7860, or at another that is free.
    stream
        What the page of a live run needs of the room stream.
    told
        Takes the address, once the server listens.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the own folder is removed
    with (
        listening(host, port) as listener,
        tempfile.TemporaryDirectory(prefix="thermograd-serve-") as own,
        contextlib.suppress(KeyboardInterrupt),
    ):
        port = listener.getsockname()[1]
        serving = Serving(runs, local_runs(runs), Path(own), stream)
        app = build_app(serving, Allowed(frozenset()))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, server_header=False, lifespan="off",
            ws="none", http="h11", timeout_graceful_shutdown=_ENDING_S,
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        _Server(config, lambda: told(f"http://{shown}:{port}/"), app.state.ending.set).run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun, self._ending = begun, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets=sockets)


def listening(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens; ServeError where the address is taken, or none of this machine."""
    for tried in (7860, 0) if port is None else (port,):
        try:
            return _listening(host, tried)
        except OSError as error:
            refused = error
    raise ServeError(
        f"cannot listen at {host} port {port}: {refused.strerror or refused}; give another --port"
    )


def _listening(host: str, port: int) -> socket.socket:
    ((family, *_, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return socket.create_server(address[:2], family=family, backlog=2048)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)
