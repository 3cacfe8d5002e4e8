"""Chance that anybody can draw again: numbers from a seed by SHA-256, the same on every machine."""

import hashlib
import secrets

_SCALE = float(2**53)


def uniform(seed: int, purpose: str, index: int) -> float:
    """Return a number of [0, 1), uniform over seeds; of another purpose or index, an independent one.

    Examples
    --------
    >>> uniform(7, "coin", 0) == uniform(7, "coin", 0) != uniform(7, "coin", 1)
    True
    """
    digest = hashlib.sha256(f"thermograd 1 {seed} {purpose} {index}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / _SCALE


def new_seed() -> int:
    """Return a seed that nobody has chosen, below 2**31."""
    return secrets.randbelow(2**31)
