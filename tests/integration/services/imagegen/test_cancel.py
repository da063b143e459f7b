"""How soon the device stops after a caller has left, counted in steps."""

import asyncio
import threading

import pytest

from atelier.imagegen.v1 import image_service_pb2
from servekit.worker import CancelToken
from services.imagegen.engines.denoising import Denoising
from services.imagegen.engines.stepwise import StepwiseEngine
from services.imagegen.ports import Pulse
from tests.integration.services.imagegen.conftest import TIMEOUT_S, Client
from tests.integration.services.imagegen.test_errors import until_idle

LEFT_DURING = 3
"""The step under way when the server hears that its caller has left."""


class Watched:
    """Counts an engine's steps; one of them lasts until the server has heard of a cancellation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.under_way = asyncio.Event()
        self._heard = threading.Event()
        self._loop = asyncio.get_running_loop()
        step, cancel = StepwiseEngine.step, CancelToken.cancel

        def watched_step(engine: StepwiseEngine, states: list[Denoising], pulse: Pulse) -> None:
            self.steps += 1
            if self.steps == LEFT_DURING:
                self._loop.call_soon_threadsafe(self.under_way.set)
                assert self._heard.wait(TIMEOUT_S)
            step(engine, states, pulse)

        def watched_cancel(token: CancelToken) -> None:
            cancel(token)
            self._heard.set()

        monkeypatch.setattr(StepwiseEngine, "step", watched_step)
        monkeypatch.setattr(CancelToken, "cancel", watched_cancel)


@pytest.mark.parametrize("total", [LEFT_DURING, 50])
async def test_no_step_begins_and_nothing_is_decoded_once_the_caller_has_left(
    client: Client, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(StepwiseEngine, "finish", lambda *state, **_: decoded.append(state))
    watched = Watched(monkeypatch)
    call = client.images.Generate(image_service_pb2.GenerateRequest(prompt="a", steps=total), timeout=TIMEOUT_S)
    await watched.under_way.wait()
    call.cancel()

    await until_idle(client)
    assert (watched.steps, decoded) == (LEFT_DURING, [])
