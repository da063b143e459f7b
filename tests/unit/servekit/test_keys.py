import pytest

from servekit.keys import StoredKey, new_key, split


def test_a_new_key_matches_what_is_stored_of_it() -> None:
    key, stored = new_key()
    parts = split(key)
    assert parts is not None
    assert parts[0] == stored.id
    assert stored.matches(parts[1])


def test_no_two_keys_are_alike() -> None:
    assert new_key()[0] != new_key()[0]


def test_what_is_stored_does_not_tell_the_secret() -> None:
    key, stored = new_key()
    assert key.rpartition("_")[2] not in stored.text


def test_another_secret_does_not_match() -> None:
    key, _ = new_key()
    _, stored = new_key()
    parts = split(key)
    assert parts is not None
    assert not stored.matches(parts[1])


def test_a_line_is_read_as_it_was_written() -> None:
    _, stored = new_key()
    assert StoredKey.parse(stored.text) == stored


@pytest.mark.parametrize("text", ["", "secret", "0123abcd:md5:00", "0123abcd:sha256:00", f"xyz:sha256:{'0' * 64}"])
def test_a_line_that_is_none_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="<id>:sha256:<digest>"):
        StoredKey.parse(text)


@pytest.mark.parametrize("text", ["", "atelier_", "atelier_0123abcd_short", "other_0123abcd_" + "x" * 43, "a.b.c"])
def test_what_is_no_key_has_no_parts(text: str) -> None:
    assert split(text) is None
