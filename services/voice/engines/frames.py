"""How the server and an engine's process talk: frames of a kind, a length and a payload, over one socket.

To the process: `SPEAK` (a task, as the engine writes it), `CANCEL`. From it: `READY` (what the engine wants to know of
it), then for each `SPEAK` any number of `AUDIO` (samples, as the engine writes them) and `WORD`, and one `DONE` or
`FAILED` (text).
"""

import struct

HEADER = struct.Struct("<cI")
"""Kind, and length of the payload in bytes."""
WORD_PAYLOAD = struct.Struct("<iid")
"""Offset and length in code points, start in seconds."""

SPEAK = b"S"
CANCEL = b"C"
READY = b"R"
AUDIO = b"A"
WORD = b"W"
DONE = b"D"
FAILED = b"F"


def pack(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return HEADER.pack(kind, len(payload)) + payload
