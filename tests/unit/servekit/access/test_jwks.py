import asyncio
import threading

import jwt
import pytest

from servekit.access.jwks import FetchedKeys, KeySet, as_source
from servekit.errors import BackendUnavailable
from servekit.testing import ManualClock
from tests.tokens import Issuer


def _keys(issuer: Issuer) -> KeySet:
    return {key.key_id or "": key for key in jwt.PyJWKSet.from_json(issuer.jwks()).keys}


class Remote:
    """What the issuer answers, and how often it was asked."""

    def __init__(self, *issuers: Issuer) -> None:
        self.keys = {name: key for each in issuers for name, key in _keys(each).items()}
        self.asked = 0
        self.down = False

    def __call__(self) -> KeySet:
        self.asked += 1
        if self.down:
            raise OSError("connection refused")
        return self.keys


@pytest.fixture(scope="module")
def one() -> Issuer:
    return Issuer("one")


@pytest.fixture(scope="module")
def two() -> Issuer:
    return Issuer("two")


async def test_keys_are_fetched_once_and_kept(one: Issuer) -> None:
    remote = Remote(one)
    keys = FetchedKeys(remote, ManualClock())
    for _ in range(3):
        assert await keys.find("ES256-one") is not None
    assert remote.asked == 1


async def test_a_new_key_is_found_at_once(one: Issuer, two: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.keys = Remote(one, two).keys
    clock.advance(10)
    assert await keys.find("ES256-two") is not None


async def test_made_up_keys_do_not_make_it_ask_all_the_time(one: Issuer) -> None:
    remote = Remote(one)
    keys = FetchedKeys(remote, ManualClock())
    for number in range(50):
        assert await keys.find(f"made up {number}") is None
    assert remote.asked == 1


async def test_a_withdrawn_key_is_forgotten(one: Issuer, two: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.keys = Remote(two).keys
    clock.advance(300)
    assert await keys.find("ES256-one") is None


async def test_an_issuer_that_is_down_changes_nothing(one: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.down = True
    clock.advance(300)
    assert await keys.find("ES256-one") is not None
    assert "cannot be fetched: connection refused" in caplog.text


async def test_without_any_keys_one_is_asked_to_come_back(one: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    remote.down = True
    keys = FetchedKeys(remote, clock)
    with pytest.raises(BackendUnavailable):
        await keys.find("ES256-one")
    remote.down = False
    clock.advance(10)
    assert await keys.find("ES256-one") is not None


async def test_many_calls_share_one_fetch(one: Issuer) -> None:
    remote, may_answer = Remote(one), threading.Event()

    def slow() -> KeySet:
        may_answer.wait(5)
        return remote()

    keys = FetchedKeys(slow, ManualClock())
    asking = [asyncio.create_task(keys.find("ES256-one")) for _ in range(5)]
    await asyncio.sleep(0)
    may_answer.set()
    assert None not in await asyncio.gather(*asking)
    assert remote.asked == 1


@pytest.mark.parametrize("url", ["http://id.example/keys", "ftp://id.example/keys", "file:///etc/passwd"])
def test_keys_are_not_taken_from_where_anybody_could_put_them(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with https://"):
        as_source(url)
