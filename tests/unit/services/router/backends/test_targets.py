import asyncio
from collections.abc import Sequence

import pytest

from services.router.backends import targets


def test_targets_are_split_at_commas() -> None:
    assert targets.parse("a:1, dns:///b:2,") == ("a:1", "dns:///b:2")


@pytest.mark.parametrize("bad", ["a", "a:", ":1", "a:http", "dns:///a"])
def test_a_target_without_a_port_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        targets.parse(f"a:1,{bad}")


async def test_an_address_is_itself() -> None:
    assert await targets.resolve("imagegen:50052") == ["imagegen:50052"]


async def test_a_name_is_resolved_to_its_addresses() -> None:
    assert "127.0.0.1:50052" in await targets.resolve("dns:///127.0.0.1:50052")


async def test_a_v6_address_is_bracketed() -> None:
    assert await targets.resolve("dns:///[::1]:50052") == ["[::1]:50052"]


async def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError):
        await targets.resolve("dns:///no.such.name.invalid:1")


@pytest.mark.parametrize(
    ("target", "name"), [("dns:///voice.atelier.svc:50053", "voice.atelier.svc"), ("10.0.0.1:1", ""), ("voice:1", "")]
)
def test_a_name_that_was_resolved_is_what_the_certificate_must_say(target: str, name: str) -> None:
    assert targets.server_name(target) == name


class Slow:
    """A name service that answers once it is `ready`."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.asked = 0

    async def __call__(self, target: str) -> Sequence[str]:
        self.asked += 1
        await self.ready.wait()
        return [target]


async def test_a_name_service_that_is_slow_is_not_waited_for_and_its_answer_not_lost() -> None:
    names = Slow()
    resolve = targets.Resolver(0.01, names)
    for _ in range(2):
        with pytest.raises(OSError, match="the name service did not answer"):
            await resolve("a:1")
    names.ready.set()

    assert (await resolve("a:1"), names.asked) == (["a:1"], 1)
    assert (await resolve("a:1"), names.asked) == (["a:1"], 2)


async def test_who_asks_at_the_same_time_shares_a_lookup() -> None:
    names = Slow()
    resolve = targets.Resolver(60.0, names)
    asking = [asyncio.create_task(resolve("a:1")) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    names.ready.set()
    await asyncio.wait(asking)

    assert ([each.result() for each in asking[1:]], names.asked) == ([["a:1"]] * 2, 1)
