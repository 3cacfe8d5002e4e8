"""Addresses: whether one is this machine's own, how it is written, and a socket that listens at it."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and no other can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bracketed(host: str) -> str:
    """Return a host as it stands before a port.

    Examples
    --------
    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


def listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that listens; OSError where the address is taken, or none of this machine."""
    ((family, *_, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return socket.create_server(address[:2], family=family, backlog=backlog)
