"""What the header of a PNG says, for the tests of what is drawn."""

import struct


def size_of(png: bytes) -> tuple[int, ...]:
    """Return width, height, bits a channel and kind of colour (6: with alpha) of a PNG."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">IIBB", png[16:26])
