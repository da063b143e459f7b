"""Sends the whole table to the four real processes and looks at what it left behind."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import grpc.aio
import psutil
import pytest
from google.protobuf.message import Message
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from atelier_client import AtelierError
from atelier_client._errors import from_rpc_error
from deploy.local.studio import Studio
from tests.e2e.bad_input import Case, cases
from tests.e2e.metrics import scrape

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABLE = list(cases())
MEMORY_SLACK = 24 * 2**20
"""Bytes by which an allocator may keep more after the table than before; one leaked request of a megabyte per case
would exceed it many times over."""
TASK_SLACK = 4
"""Tasks that come and go by themselves, such as the router's looks at its servers."""


async def test_the_table_is_large_enough() -> None:
    assert len(TABLE) >= 40
    assert len({case.name for case in TABLE}) == len(TABLE)


@pytest.mark.parametrize("case", TABLE, ids=[case.name for case in TABLE])
async def test_bad_input_gets_its_error(studio: Studio, case: Case) -> None:
    for service in case.services:
        error = await send(studio.services[service].address, case)
        assert (error.code, error.reason) == (case.code, case.reason), f"{service}: {error}"
        assert {each.field for each in error.violations} == case.fields, f"{service}: {error}"
        assert all(each.description for each in error.violations)


async def test_the_table_leaves_nothing_behind(studio: Studio) -> None:
    await send_all(studio)  # caches and pools fill once
    before = {name: await footprint(studio, name) for name in studio.running}
    await send_all(studio)
    for name, old in before.items():
        new = await footprint(studio, name)
        assert new.threads <= old.threads, name
        assert new.tasks <= old.tasks + TASK_SLACK, name
        assert new.resident_bytes - old.resident_bytes < MEMORY_SLACK, name
        assert new.open_calls == 0, name


async def send_all(studio: Studio) -> None:
    for case in TABLE:
        for service in case.services:
            await send(studio.services[service].address, case)


async def send(address: str, case: Case) -> AtelierError:
    """Make the call, any kind of method over the same wire format, and return its error."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        call = begin(channel, case)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        return from_rpc_error(caught.value, address)


def begin(channel: grpc.aio.Channel, case: Case) -> Any:
    """Start the call. One message goes out in one batch with the call itself: where a server refuses a call while
    a stream still writes to it, grpc.aio puts INTERNAL "Internal error from Core" in the place of its status."""
    if len(case.messages) == 1:
        unary: Any = channel.unary_stream(f"/{case.method}")
        return unary(encode(case.messages[0]), timeout=30)
    stream: Any = channel.stream_stream(f"/{case.method}")
    return stream(each(case.messages), timeout=30)


async def each(messages: Iterable[Message | bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield encode(message)


def encode(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


@dataclass(frozen=True)
class Footprint:
    """What a service holds."""

    threads: int
    tasks: float
    resident_bytes: int
    open_calls: float


async def footprint(studio: Studio, name: str) -> Footprint:
    process = psutil.Process(studio.running[name].pid)
    samples = [s for family in text_string_to_metric_families(await scrape(studio, name)) for s in family.samples]
    return Footprint(
        threads=process.num_threads(),
        tasks=total(samples, "asyncio_tasks"),
        resident_bytes=process.memory_info().rss,
        open_calls=total(samples, "grpc_server_started_total") - total(samples, "grpc_server_handled_total"),
    )


def total(samples: Iterable[Sample], name: str) -> float:
    """Add up a metric. Watches last as long as their caller, so they are in use, not left behind."""
    return sum(each.value for each in samples if each.name == name and each.labels.get("grpc_method") != "Watch")
