import asyncio
import json
import threading
from collections.abc import Callable
from http.client import BadStatusLine, HTTPException
from typing import Any

import pytest

from servekit.access.jwks import FetchedKeys, KeySet, as_source, parse
from servekit.errors import BackendUnavailable
from servekit.testing import ManualClock
from tests.tokens import Issuer


class Remote:
    """What the issuer answers, and how often it was asked."""

    def __init__(self, *issuers: Issuer) -> None:
        self.keys = {name: key for each in issuers for name, key in parse(each.jwks().encode()).items()}
        self.asked = 0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> KeySet:
        self.asked += 1
        self.may_answer.wait(10)
        if self.error is not None:
            raise self.error
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
    clock.advance(600)
    assert await keys.find("ES256-one") is None


async def test_old_keys_are_fetched_again_beside_the_calls(one: Issuer, two: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.keys = Remote(two).keys
    remote.may_answer.clear()
    clock.advance(300)
    for _ in range(5):
        assert await keys.find("ES256-one") is not None
    remote.may_answer.set()
    assert await keys.find("ES256-two") is not None
    assert await keys.find("ES256-one") is None
    assert remote.asked == 2


_BROKEN = [OSError("connection refused"), ValueError("no usable keys"), BadStatusLine("rubbish"), HTTPException("odd")]


@pytest.mark.parametrize("error", _BROKEN)
async def test_an_issuer_that_fails_changes_nothing(
    one: Issuer, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.error = error
    clock.advance(600)
    for _ in range(3):
        assert await keys.find("ES256-one") is not None
    assert remote.asked == 2
    assert [each.message for each in caplog.records] == [f"the keys of the token issuer cannot be fetched: {error}"]


async def test_an_issuer_that_has_failed_is_not_waited_for(one: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    keys = FetchedKeys(remote, clock)
    await keys.find("ES256-one")
    remote.error = TimeoutError()
    clock.advance(600)
    await keys.find("ES256-one")
    remote.may_answer.clear()
    clock.advance(10)
    assert await keys.find("ES256-one") is not None
    remote.may_answer.set()
    assert await keys.find("made up") is None
    assert remote.asked == 3


async def test_a_fetch_goes_on_without_the_call_that_began_it(one: Issuer) -> None:
    remote = Remote(one)
    remote.may_answer.clear()
    keys = FetchedKeys(remote, ManualClock())
    for name in ("ES256-one", "made up"):
        call = asyncio.create_task(keys.find(name))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
    remote.may_answer.set()
    assert await keys.find("ES256-one") is not None
    assert remote.asked == 1


async def test_without_any_keys_one_is_asked_to_come_back(one: Issuer) -> None:
    remote, clock = Remote(one), ManualClock()
    remote.error = OSError("connection refused")
    keys = FetchedKeys(remote, clock)
    with pytest.raises(BackendUnavailable):
        await keys.find("ES256-one")
    remote.error = None
    clock.advance(10)
    assert await keys.find("ES256-one") is not None


async def test_many_calls_share_one_fetch(one: Issuer) -> None:
    remote = Remote(one)
    remote.may_answer.clear()
    keys = FetchedKeys(remote, ManualClock())
    asking = [asyncio.create_task(keys.find("ES256-one")) for _ in range(5)]
    await asyncio.sleep(0)
    remote.may_answer.set()
    assert None not in await asyncio.gather(*asking)
    assert remote.asked == 1


@pytest.mark.parametrize("url", ["http://id.example/keys", "ftp://id.example/keys", "file:///etc/passwd"])
def test_keys_are_not_taken_from_where_anybody_could_put_them(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with https://"):
        as_source(url)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: {**key, "alg": ["RS256"]},
        lambda key: {**key, "alg": "RSA-OAEP"},
        lambda key: {**key, "use": "enc"},
        lambda key: {**key, "n": 1},
        lambda key: {**key, "kty": ["RSA"]},
        lambda key: {},
        lambda key: "key",
    ],
)
def test_a_key_that_is_of_no_use_spoils_no_other(
    one: Issuer, two: Issuer, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    good, bad = json.loads(one.jwks())["keys"], json.loads(two.jwks())["keys"][1]
    assert set(parse(json.dumps({"keys": [spoil(bad), *good]}).encode())) == {"ES256-one", "RS256-one"}
    with pytest.raises(ValueError, match="no usable keys"):
        parse(json.dumps({"keys": [spoil(bad)]}).encode())


@pytest.mark.parametrize("keys", [None, {}, [], "keys", 7])
def test_what_is_no_list_of_keys_is_refused(keys: Any) -> None:
    with pytest.raises(ValueError, match="no usable keys"):
        parse(json.dumps({"keys": keys}).encode())
