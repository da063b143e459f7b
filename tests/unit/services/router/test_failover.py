from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import pytest

from services.router.domain import ReplicaLost
from services.router.failover import with_failover


def lost() -> ReplicaLost:
    return ReplicaLost("gone", retry_after_s=1)


@dataclass
class Replicas:
    """Replicas that send what they are told to; an exception ends the stream."""

    sends: dict[str, list[str | Exception]]
    closed: list[str] = field(default_factory=list)

    async def begin(self, replica: str) -> AsyncGenerator[str, None]:
        try:
            for event in self.sends[replica]:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed.append(replica)

    def successor(self, gone: Sequence[str]) -> str | None:
        return next((name for name in self.sends if name not in gone), None)

    def stream(self) -> AsyncGenerator[str, None]:
        return with_failover(
            next(iter(self.sends)),
            begin=self.begin,
            successor=self.successor,
            is_output=lambda event: event == "image",
            announce=lambda old, new, number: f"{number}: {old} -> {new}",
        )


async def test_a_stream_without_trouble_passes() -> None:
    assert [event async for event in Replicas({"a": ["queued", "image"]}).stream()] == ["queued", "image"]


async def test_another_replica_takes_over_before_any_output() -> None:
    replicas = Replicas({"a": ["queued", lost()], "b": ["image"]})

    assert [event async for event in replicas.stream()] == ["queued", "1: a -> b", "image"]


async def test_every_replica_is_tried_once() -> None:
    replicas = Replicas({"a": [lost()], "b": [lost()], "c": ["image"]})

    assert [event async for event in replicas.stream()] == ["1: a -> b", "2: b -> c", "image"]


async def test_nothing_is_repeated_once_output_was_sent() -> None:
    replicas = Replicas({"a": ["image", lost()], "b": ["image"]})

    with pytest.raises(ReplicaLost):
        [event async for event in replicas.stream()]
    assert replicas.closed == ["a"]


async def test_without_a_successor_the_loss_is_the_error() -> None:
    with pytest.raises(ReplicaLost):
        [event async for event in Replicas({"a": [lost()]}).stream()]


async def test_an_error_of_the_server_is_not_a_loss() -> None:
    replicas = Replicas({"a": [ValueError("mine")], "b": ["image"]})

    with pytest.raises(ValueError, match="mine"):
        [event async for event in replicas.stream()]


async def test_leaving_early_closes_the_stream_of_the_replica() -> None:
    replicas = Replicas({"a": ["queued", "image"]})
    stream = replicas.stream()
    await anext(stream)

    await stream.aclose()

    assert replicas.closed == ["a"]
