import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from servekit.errors import BackendUnavailable
from servekit.testing import ManualClock
from services.router.backends.fleet import Connect, Fleet
from services.router.backends.server import Server
from services.router.domain import Replica, ReplicaLost


class FakeServer:
    """A server that is always healthy and remembers what happens to it."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.channel = self
        self.serving = True
        self.answering = True
        self.in_flight = 0
        self.probes = 0
        self.described = 0
        self.closed = False
        self.left = False
        self.idle = True

    async def probe(self, timeout_s: float, *, describe: bool) -> None:
        self.probes += 1
        self.described += describe

    async def close(self) -> None:
        self.closed = True

    def leave(self) -> None:
        self.left = True

    def replica(self) -> Replica:
        return Replica(self.name)

    @contextmanager
    def lease(self) -> Iterator["FakeServer"]:
        self.idle = False
        yield self
        self.idle = True


class Names:
    """A name service that a test rewrites."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.down = False
        self.stamp = 0

    async def __call__(self, target: str) -> list[str]:
        if self.down:
            raise OSError("no such name")
        return self.addresses


class Zones:
    """Name services of several targets; one without addresses is down."""

    def __init__(self, **zones: list[str]) -> None:
        self.zones = zones
        self.stamp = 0

    async def __call__(self, target: str) -> list[str]:
        if not self.zones[target]:
            raise OSError("no such name")
        return self.zones[target]


def build(
    names: Names | Zones,
    clock: ManualClock | None = None,
    targets: Sequence[str] = ("dns:///imagegen:1",),
    connect: Connect = lambda name, address, target: cast(Server, FakeServer(name, address)),
) -> Fleet:
    return Fleet(
        "imagegen",
        targets,
        connect=connect,
        resolve=names,
        stamp=lambda: names.stamp,
        clock=clock or ManualClock(),
        refresh_s=2.0,
        probe_timeout_s=1.0,
    )


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    yield Names("10.0.0.1:1", "10.0.0.2:1")


def fakes(fleet: Fleet) -> dict[str, Any]:
    return {server.address: server for server in fleet.servers()}


async def test_every_address_becomes_a_named_server(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()

    assert {server.address: server.name for server in fleet.servers()} == {
        "10.0.0.1:1": "imagegen-0",
        "10.0.0.2:1": "imagegen-1",
    }


async def test_a_newcomer_takes_the_lowest_free_name(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    names.addresses = ["10.0.0.2:1", "10.0.0.3:1"]
    await fleet.refresh()

    assert {server.address: server.name for server in fleet.servers()} == {
        "10.0.0.3:1": "imagegen-0",
        "10.0.0.2:1": "imagegen-1",
    }


async def test_renewed_certificates_mean_new_connections_under_the_old_names(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    old = fakes(fleet)
    names.stamp = 1
    with old["10.0.0.1:1"].lease():
        await fleet.refresh()
        new = fakes(fleet)
        assert {each.name for each in new.values()} == {each.name for each in old.values()}
        assert not set(map(id, new.values())) & set(map(id, old.values()))
        assert (old["10.0.0.1:1"].closed, old["10.0.0.2:1"].closed) == (False, True)
    await fleet.refresh()
    assert old["10.0.0.1:1"].closed
    assert fakes(fleet) == new


async def test_certificates_that_cannot_be_read_leave_the_connections_as_they_are(names: Names) -> None:
    readable = True

    def connect(name: str, address: str, _target: str) -> Server:
        if not readable:
            raise FileNotFoundError("router.pem")
        return cast(Server, FakeServer(name, address))

    fleet = build(names, connect=connect)
    await fleet.refresh()
    known = fakes(fleet)
    names.stamp, readable = 1, False
    await fleet.refresh()
    kept, probes = fakes(fleet), {each.probes for each in known.values()}
    readable = True
    await fleet.refresh()

    assert (kept, probes) == (known, {2})
    assert not set(map(id, fakes(fleet).values())) & set(map(id, known.values()))


async def test_only_a_server_that_is_gone_leaves_the_metrics(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    known = fakes(fleet)
    names.addresses = ["10.0.0.2:1"]
    names.stamp = 1
    await fleet.refresh()

    assert {address: server.left for address, server in known.items()} == {"10.0.0.1:1": True, "10.0.0.2:1": False}


async def test_a_server_that_leaves_is_closed_after_its_last_call(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    leaver = fakes(fleet)["10.0.0.1:1"]
    names.addresses = ["10.0.0.2:1"]
    with leaver.lease():
        await fleet.refresh()
        open_while_busy = not leaver.closed
    await fleet.refresh()

    assert (open_while_busy, leaver.closed) == (True, True)


async def test_a_target_without_a_name_hides_no_server_of_another() -> None:
    fleet = build(Zones(a=["10.0.0.1:1"], b=[]), targets=["a", "b"])
    await fleet.refresh()

    assert set(fakes(fleet)) == {"10.0.0.1:1"}


async def test_a_target_that_loses_its_name_keeps_its_own_servers_only() -> None:
    zones = Zones(a=["10.0.0.1:1"], b=["10.1.0.1:1", "10.1.0.2:1"])
    fleet = build(zones, targets=["a", "b"])
    await fleet.refresh()
    zones.zones = {"a": ["10.0.0.2:1"], "b": []}
    await fleet.refresh()
    zones.stamp = 1
    await fleet.refresh()

    assert set(fakes(fleet)) == {"10.0.0.2:1", "10.1.0.1:1", "10.1.0.2:1"}


async def test_a_name_service_that_is_down_changes_nothing(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    names.down = True
    await fleet.refresh()

    assert len(fleet.servers()) == 2


async def test_the_servers_are_asked_again_after_the_interval(names: Names) -> None:
    clock = ManualClock()
    fleet = build(names, clock)
    await fleet.start()
    server = fakes(fleet)["10.0.0.1:1"]
    await until(clock, lambda: server.probes == 2)
    await fleet.stop()

    assert server.closed


async def test_an_idle_fleet_is_asked_for_its_health_alone(names: Names) -> None:
    clock = ManualClock()
    fleet = build(names, clock)
    await fleet.start()
    server = fakes(fleet)["10.0.0.1:1"]
    await until(clock, lambda: server.probes == 3)
    described_while_idle = server.described
    fleet.replicas()
    await until(clock, lambda: server.probes == 5)
    await fleet.stop()

    assert (described_while_idle, server.described) == (1, 2)


async def until(clock: ManualClock, done: Callable[[], bool]) -> None:
    """Move the clock by one interval after another until `done`."""
    while not done():
        clock.advance(2.0)
        await asyncio.sleep(0)


async def test_the_least_busy_healthy_server_is_picked(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    first, second = (fakes(fleet)[address] for address in names.addresses)
    first.in_flight = 1

    assert fleet.pick() == second.name
    second.serving = False
    assert fleet.pick() == first.name


async def test_a_server_that_does_not_answer_is_picked_last_of_the_healthy(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    first, second = (fakes(fleet)[address] for address in names.addresses)
    first.answering, second.in_flight = False, 3

    assert fleet.pick() == second.name
    second.serving = False
    assert fleet.pick() == first.name


async def test_a_server_that_was_not_lost_takes_over(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()
    first, second = (fakes(fleet)[address] for address in names.addresses)

    assert fleet.successor([first.name]) == second.name
    assert fleet.successor([first.name, second.name]) is None


async def test_a_fleet_without_servers_says_so() -> None:
    fleet = build(Names())
    await fleet.refresh()

    with pytest.raises(BackendUnavailable, match="no imagegen server is known"):
        fleet.pick()


async def test_a_server_that_has_gone_is_lost_and_named(names: Names) -> None:
    fleet = build(names)
    await fleet.refresh()

    with pytest.raises(ReplicaLost, match="imagegen-7 has gone"):
        fleet.named("imagegen-7")
