"""Ports of this machine that nobody takes away between two lines of a test."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_HOST = "127.0.0.1"


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Give a port that refuses connections: it is bound, so nobody else can listen, and we do not."""
    with socket.socket() as bound:
        bound.bind((_HOST, 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port on which a process that is started later can listen.

    It is none of those that the system hands out by itself, and a datagram socket on the same number, for as
    long as this lasts, keeps it from every other test that reserves one.
    """
    own = _not_handed_out()
    begin = os.getpid() % len(own)
    with contextlib.ExitStack() as held:
        for port in own[begin:] + own[:begin]:
            claim = socket.socket(type=socket.SOCK_DGRAM)
            try:
                claim.bind((_HOST, port))
                with socket.socket() as probe:
                    probe.bind((_HOST, port))
            except OSError:
                claim.close()
                continue
            held.enter_context(claim)
            yield port
            return
    raise OSError("no port is free")


def _not_handed_out() -> list[int]:
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        first, last = 32_768, 65_535
    ports = range(20_000, 65_000)
    return [port for port in ports if not first <= port <= last] or list(ports)
