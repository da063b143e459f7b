import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.chunks import CHUNK_BYTES, Joiner, split


@given(st.binary(max_size=5000), st.integers(min_value=1, max_value=700))
def test_what_is_split_joins_to_the_same(data: bytes, size: int) -> None:
    joiner = Joiner(len(data), hashlib.sha256(data).hexdigest())
    for chunk in split(data, size):
        assert 0 < len(chunk) <= size
        joiner.add(chunk)
    assert joiner.finish() == data


def test_chunks_are_64_kib_unless_told() -> None:
    assert [len(chunk) for chunk in split(bytes(CHUNK_BYTES + 1))] == [65536, 1]


def test_a_chunk_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        split(b"x", 0)


def test_more_than_promised_is_refused_at_once() -> None:
    joiner = Joiner(3)
    joiner.add(b"ab")
    with pytest.raises(ValueError, match="more than the promised 3 bytes"):
        joiner.add(b"cd")


def test_less_than_promised_is_refused_at_the_end() -> None:
    joiner = Joiner(3)
    joiner.add(b"ab")
    with pytest.raises(ValueError, match="2 bytes instead of the promised 3"):
        joiner.finish()


def test_a_wrong_digest_is_refused() -> None:
    joiner = Joiner(2, hashlib.sha256(b"xy").hexdigest())
    joiner.add(b"ab")
    with pytest.raises(ValueError, match="sha256"):
        joiner.finish()
