"""``thermograd record --otlp``: where it listens, who may send, what it says, and how it ends."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import EACCES
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.ingest.otlp.names import Names, given_units, mapped_columns
from thermograd.store.errors import LogError, MissingExtraError, ServeError, os_errors_as
from thermograd.store.listening.addresses import bracketed, is_loopback, listening_socket
from thermograd.store.listening.tokens import given_token, new_token

if TYPE_CHECKING:
    from thermograd.ingest.agent.agent import StreamLayer
    from thermograd.ingest.otlp.receiver import Receiver

TOKEN = "THERMOGRAD_RECEIVE_TOKEN"
_BACKLOG = 128
_ENDING_S = 5


@dataclass(frozen=True)
class Doors:
    """Where metrics are received, from whom, and what they become.

    Attributes
    ----------
    http, grpc
        ``HOST:PORT``; None for none.
    token_file
        A file with the token that senders carry; else ``$THERMOGRAD_RECEIVE_TOKEN``. An address that is not
        this machine's own (loopback) always asks for one.
    columns, units
        ``NAME=METRIC`` and ``NAME=UNIT`` as a person gives them.
    run_by
        The attribute of a resource by which runs are told apart.
    idle_s
        A run without a reading for so long ends.
    devices
        Sample this machine's devices, too, into the runs of this machine.
    """

    http: str | None = None
    grpc: str | None = None
    token_file: Path | None = None
    columns: Sequence[str] = ()
    units: Sequence[str] = ()
    run_by: str | None = None
    idle_s: float = 600.0
    devices: bool = False


def receive(
    runs_dir: Path,
    doors: Doors,
    stream_layer: "Callable[[Path], StreamLayer] | None",
    say: Callable[[str], object],
    duration_s: float | None = None,
    hz: float = 5.0,
) -> dict[str, int]:
    """Receive until Ctrl-C, or the time is up; return how many readings were written, repeated, ...

    `hz` is how often devices are sampled, where they are.

    Raises
    ------
    ServeError
        If an address cannot be listened at, or the token is too short.
    LogError
        If no run can be written there.
    MissingExtraError
        If what is needed is not installed.
    """
    require_extra(doors.grpc is not None)
    names = Names(mapped_columns(doors.columns), given_units(doors.units))
    with os_errors_as(LogError, f"cannot record in {runs_dir}"):
        runs_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(runs_dir, os.W_OK):
            raise PermissionError(EACCES, "it is not writable")
    from thermograd.ingest.otlp.receiver import Receiver

    with _interruptible(), receiving(doors) as listening:
        own_hz = hz if doors.devices else None
        receiver = Receiver(runs_dir, names, stream_layer, say, doors.run_by, doors.idle_s, own_hz)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                receiver.take_up()
                listening(receiver, say, duration_s)
        finally:
            receiver.close()
    return dict(receiver.counts)


def require_extra(grpc: bool) -> None:
    """Raise MissingExtraError, with what to install, where it is not."""
    for module in ("google.protobuf", "google.rpc", "opentelemetry.proto", "uvicorn"):
        if not _is_there(module):
            raise MissingExtraError(f"OTLP is received with {module}: pip install 'thermograd[otlp]'")
    if grpc and not _is_there("grpc"):
        raise MissingExtraError(
            "--otlp-grpc needs grpcio: pip install grpcio; OTLP over HTTP (--otlp) does without"
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def address_of(text: str, option: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; ServeError for what is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise ServeError(f"{option} {text!r} is no HOST:PORT, such as 127.0.0.1:4318")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def receiving(doors: Doors) -> "Iterator[Callable[[Receiver, Callable[[str], object], float | None], None]]":
    """Take the addresses; give what receives there until it is ended."""
    token = given_token(TOKEN, doors.token_file)
    taken = {o: address_of(t, o) for o, t in (("--otlp", doors.http), ("--otlp-grpc", doors.grpc)) if t}
    is_open = any(not is_loopback(host) for host, _ in taken.values())
    if token is None and is_open:
        token = new_token()
        told = f"Senders carry the token {token}"
    else:
        told = ""
    with contextlib.ExitStack() as stack:
        at = taken.get("--otlp")
        listener = stack.enter_context(_listening(*at)) if at is not None else None

        def run(receiver: "Receiver", say: Callable[[str], object], duration_s: float | None) -> None:
            with _grpc_door(receiver, taken.get("--otlp-grpc"), token) as grpc_at:
                shown = [f"http://{_shown(listener)}/v1/metrics"] if listener is not None else []
                say(f"Receiving OTLP at {', '.join(shown + grpc_at)}; Ctrl-C ends it.")
                if told:
                    say(told)
                _serve(receiver, listener, token, duration_s)

        yield run


@contextlib.contextmanager
def _grpc_door(receiver: "Receiver", at: tuple[str, int] | None, token: str | None) -> Iterator[list[str]]:
    if at is None:
        yield []
        return
    from thermograd.ingest.otlp.wire.grpc_service import GrpcServer

    server = GrpcServer(receiver, *at, token)
    try:
        yield [f"grpc://{at[0]}:{server.port}"]
    finally:
        server.close()


def _serve(
    receiver: "Receiver", listener: socket.socket | None, token: str | None, duration_s: float | None
) -> None:
    """Answer until somebody ends it."""
    if listener is None:
        threading.Event().wait(duration_s)
        return
    from thermograd.ingest.otlp.wire.http import Application

    is_own = is_loopback(listener.getsockname()[0])
    app = Application(receiver, token, names=is_own and token is None)
    server = http_server(app)
    if duration_s is not None:
        timer = threading.Timer(duration_s, setattr, (server, "should_exit", True))
        timer.daemon = True
        timer.start()
    try:
        server.run([listener])
    finally:
        app.close()


def http_server(app: Any) -> Any:
    """Return the server of an application: with bounded connections, and silent."""
    import uvicorn
    from thermograd.store.listening.connections import BoundedProtocol

    return uvicorn.Server(
        uvicorn.Config(
            app, http=BoundedProtocol, ws="none", lifespan="off", backlog=_BACKLOG, log_config=None,
            log_level="critical", access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=_ENDING_S,
        )
    )  # fmt: skip


def _listening(host: str, port: int) -> socket.socket:
    try:
        return listening_socket(host, port, _BACKLOG)
    except OSError as error:
        why = error.strerror or error
        raise ServeError(f"--otlp: cannot listen at {host}:{port}: {why}; give another address") from error


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{bracketed(host)}:{port}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does: the runs are ended in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
