"""What a child process that answers a query sends: parts of a kind and of a length, which has an end."""

import struct
from typing import IO

PART, NOTE, ERROR, WHOLE = b"p", b"n", b"e", b"w"  # of the answer, for a person, the last word: two of them
_HEAD = struct.Struct("<cI")
MOST_BYTES = 1 << 20  # of one part


def read_part(pipe: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Return the next part's kind and content; None where the pipe ends, or says what it may not."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    if length > MOST_BYTES:
        return None
    content = pipe.read(length)
    return (kind, content) if len(content) == length else None


def write_parts(pipe: IO[bytes], kind: bytes, content: bytes) -> None:
    """Write content as one part, or as many as it takes."""
    for start in range(0, max(1, len(content)), MOST_BYTES):
        piece = content[start : start + MOST_BYTES]
        pipe.write(_HEAD.pack(kind, len(piece)) + piece)
