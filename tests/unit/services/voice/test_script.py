"""Passages come in order, as far as they are asked for, and those at hand can be seen before their turn."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from servekit.testing import ManualClock
from services.voice.domain import Flush, TextPart
from services.voice.script import Passage, Script
from services.voice.stopwatch import Stopwatch
from services.voice.text import languages
from services.voice.text.normalise import Normaliser
from services.voice.text.sentences import Splitter
from tests.unit.services.voice.speaking import parts_of

ENGLISH = languages.load().of("en")


def script(parts: AsyncIterator[TextPart], *, ssml: bool = False, limit: int = 100) -> Script:
    return Script(
        parts,
        splitter=Splitter(ENGLISH, limit=limit),
        normaliser=Normaliser(ENGLISH),
        ssml=ssml,
        watch=Stopwatch(ManualClock()),
    )


async def rest(of: Script) -> list[str]:
    found = list[str]()
    while (passage := await of.next()) is not None:
        found.append(passage.sentence.text)
    return found


def texts(passages: "tuple[Passage, ...] | list[Passage]") -> list[str]:
    return [each.sentence.text for each in passages]


async def test_passages_are_the_text_in_order() -> None:
    assert await rest(script(parts_of("One. Tw", "o. Thr", Flush(), "ee. Four"))) == [
        "One. ",
        "Two. ",
        "Thr",
        "ee. ",
        "Four",
    ]


async def test_what_is_at_hand_can_be_seen_and_still_comes() -> None:
    text = script(parts_of("One. Two. Three. Four."))
    first = await text.next()
    assert first is not None
    await asyncio.wait([text._coming])
    assert texts(list(text.peek(2))) == ["Two. ", "Three. "]
    assert texts(list(text.peek(9))) == ["Two. ", "Three. ", "Four."]
    assert await rest(text) == ["Two. ", "Three. ", "Four."]
    assert text.peek(9) == ()


async def test_nobody_waits_for_text_by_looking_ahead() -> None:
    arrived = asyncio.Event()

    async def slow() -> AsyncIterator[TextPart]:
        yield "One. Two. Thr"
        await arrived.wait()
        yield "ee."

    text = script(slow())
    await text.next()
    assert texts(list(text.peek(3))) == ["Two. "]
    arrived.set()
    assert await rest(text) == ["Two. ", "Three."]


async def test_a_text_that_breaks_off_does_so_after_what_came_before() -> None:
    async def broken() -> AsyncIterator[TextPart]:
        yield "One. Two. "
        raise ValueError("broken")

    text = script(broken())
    await text.next()
    await asyncio.wait([text._coming])
    assert text.peek(3) == ()  # more text would have ended the second sentence
    with pytest.raises(ValueError, match="broken"):
        await text.next()


async def test_text_is_cut_only_as_far_as_it_is_asked_for() -> None:
    taken = list[int]()

    async def counted() -> AsyncIterator[TextPart]:
        for number in range(100):
            taken.append(number)
            yield "A sentence. " * 3

    text = script(counted())
    await text.next()
    text.peek(2)
    await text.close()
    assert len(taken) <= 2


async def test_ssml_is_one_passage() -> None:
    assert await rest(script(parts_of("<speak>One. Two.</speak>"), ssml=True)) == ["<speak>One. Two.</speak>"]


async def test_closing_ends_the_wait_for_text() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[TextPart]:
        yield "One. Two. "
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    text = script(endless())
    await text.next()
    await asyncio.sleep(0)
    await text.close()
    assert ended.is_set()
