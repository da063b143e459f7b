"""A request works with one engine at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from servekit.residency import ModelSpec, Residency
from services.voice.loan import Loan
from services.voice.ports import Engine
from tests.unit.services.voice.speaking import Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def residency(shelf: Shelf) -> AsyncIterator[Residency[Engine]]:
    """Room for one engine of two."""
    residency = Residency([ModelSpec("robot", bytes=1), ModelSpec("spare", bytes=1)], shelf, budget_bytes=1)
    yield residency
    await residency.close()


def nothing(model: str, fraction: float) -> None:
    """Take no notice."""


async def test_the_engine_in_hand_is_kept(residency: Residency[Engine], shelf: Shelf) -> None:
    async with Loan(residency, nothing) as loan:
        assert await loan.engine("robot") is await loan.engine("robot")
    assert shelf.loaded == ["robot"]


async def test_an_engine_is_given_back_before_another_is_borrowed(residency: Residency[Engine]) -> None:
    async with asyncio.timeout(5), Loan(residency, nothing) as loan:
        first = await loan.engine("robot")
        assert await loan.engine("spare") is not first


async def test_the_engine_is_free_after_the_block(residency: Residency[Engine]) -> None:
    async with Loan(residency, nothing) as loan:
        await loan.engine("robot")
    await residency.unload("robot")
    assert residency.status().used_bytes == 0


async def test_loading_is_told_with_the_model(residency: Residency[Engine]) -> None:
    told: list[tuple[str, float]] = []
    async with Loan(residency, lambda model, fraction: told.append((model, fraction))) as loan:
        await loan.engine("spare")
    assert told[-1] == ("spare", 1.0)
