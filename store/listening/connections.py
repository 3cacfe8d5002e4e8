"""Connections that cost little and end: idle ones, slow ones, and those that nobody reads.

uvicorn ends a connection that is quiet after an answer, but waits for ever for a first request, for one that
comes a byte a minute, and for a client that does not read. Here each has its time; and of connections
without a request only so many are kept: beyond, the one that has been idle longest makes room for a new one.
"""

import asyncio
import contextlib
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_IDLE = 256
_MOST = 1024  # of all, which hold streams of events, too
_REQUEST_S = 10.0  # for the head of a request
_IDLE_S = 30.0  # after an answer
_STALLED_S = 20.0  # with what was sent lying unread

_idle: dict["BoundedProtocol", None] = {}  # the one that has been idle longest comes first


class BoundedProtocol(H11Protocol):
    """One connection of a client."""

    _quiet: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        _send_at_once(transport)
        self._wait(_REQUEST_S)
        if len(_idle) > MOST_IDLE or len(self.connections) > _MOST:
            next(iter(_idle)).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; a part alone gives it no more time."""
        super().data_received(data)
        self._stop_waiting_at_work()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait(_IDLE_S)
        super().on_response_complete()
        self._stop_waiting_at_work()  # on a request that had come before the answer was given

    def pause_writing(self) -> None:
        """Give a client that does not read some seconds to do it."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(_STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with a client that reads."""
        super().resume_writing()
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._work()
        self._read_on()
        super().connection_lost(exc)

    def _wait(self, longest_s: float) -> None:
        self._work()
        _idle[self] = None
        self._quiet = self.loop.call_later(longest_s, self.transport.abort)

    def _stop_waiting_at_work(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._work()

    def _work(self) -> None:
        _idle.pop(self, None)
        if self._quiet is not None:
            self._quiet.cancel()

    def _read_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _send_at_once(transport: asyncio.Transport) -> None:
    """Have the body of an answer not wait until its head is acknowledged, which takes 40 ms.

    asyncio does so itself only with sockets that were made with TCP's number.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
