"""Addresses: whether one is this machine's own."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and no other can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
