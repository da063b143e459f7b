"""A device whose memory runs out at work: everything idle leaves, the picture is made once more, else it is refused."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import torch

from services.imagegen.engines.stepwise import StepwiseEngine
from tests.integration.services.imagegen.conftest import Client
from tests.integration.services.imagegen.test_errors import refused
from tests.integration.services.imagegen.test_models import READY, UNLOADED, listed

TOO_MUCH = 2**50
"""Bytes that no machine has: torch's allocator for CPUs fails to get them."""

RunOut = Callable[[int], None]


@pytest.fixture
def run_out(monkeypatch: pytest.MonkeyPatch) -> RunOut:
    """Have the next steps of any engine ask for more memory than there is."""

    def run(times: int) -> None:
        step, left = StepwiseEngine.step, [None] * times

        def hungry(engine: StepwiseEngine, *arguments: Any) -> None:
            if left:
                left.pop()
                torch.empty(TOO_MUCH, dtype=torch.uint8)
            step(engine, *arguments)

        monkeypatch.setattr(StepwiseEngine, "step", hungry)

    return run


async def states(client: Client) -> tuple[int, int]:
    models = await listed(client)
    return models["tiny_flux"].residency.state, models["other_flux"].residency.state


async def test_everything_idle_makes_room_and_the_picture_is_made(client: Client, run_out: RunOut) -> None:
    usual = await client.generate()
    await client.generate(model="other_flux")
    assert await states(client) == (READY, READY)
    run_out(1)

    assert (await client.generate()).files == usual.files
    assert await states(client) == (READY, UNLOADED)


async def test_what_does_not_fit_even_then_is_refused_with_the_bytes(client: Client, run_out: RunOut) -> None:
    usual = await client.generate()
    run_out(2)

    code, reason, error = await refused(client)

    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DEVICE_OUT_OF_MEMORY")
    assert str(TOO_MUCH) in str(error.details())
    assert (await client.generate()).files == usual.files
