"""Large payloads in small messages: cut on one side, put together and checked on the other."""

import hashlib
from collections.abc import Iterator

CHUNK_BYTES = 64 * 1024


def split(data: bytes, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield `data` in pieces of `size` bytes, the last one shorter; nothing for no data."""
    if size < 1:
        raise ValueError(f"a chunk has at least 1 byte, not {size}")
    return (data[start : start + size] for start in range(0, len(data), size))


class Joiner:
    """Puts chunks together and checks what was promised of the whole.

    `size` is the promised length in bytes, never exceeded in memory; `sha256` the promised digest in hex, empty for
    none. Broken promises raise `ValueError`.
    """

    def __init__(self, size: int, sha256: str = "") -> None:
        self._size = size
        self._sha256 = sha256
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Append the next chunk."""
        if len(self._data) + len(chunk) > self._size:
            raise ValueError(f"more than the promised {self._size} bytes")
        self._data += chunk

    def finish(self) -> bytes:
        """Return the whole."""
        if len(self._data) != self._size:
            raise ValueError(f"{len(self._data)} bytes instead of the promised {self._size}")
        data = bytes(self._data)
        if self._sha256 and hashlib.sha256(data).hexdigest() != self._sha256.lower():
            raise ValueError("the bytes do not have the promised sha256")
        return data
