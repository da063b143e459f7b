"""What every engine promises, kept by XTTS on a tiny checkpoint."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servekit.errors import EngineFailure, ModelUnavailable
from services.voice.domain import EngineSpec, Latents, Samples, Utterance, VoiceUnusable
from services.voice.engines.xtts.engine import Family, XttsEngine
from services.voice.ports import Cloner
from tests.contract.services.voice.xtts.conftest import Load
from tests.contract.services.voice.xtts.hearing import (
    HUM,
    LONGEST_S,
    RATE,
    SAME_DB,
    difference_db,
    pieces,
    spoken,
    utterance,
)

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen " * 2


async def test_audio_is_audible_finite_and_comes_in_pieces(load: Load) -> None:
    found = await pieces(await load(), utterance("Hello, how are you?"))
    samples = np.concatenate(found)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert 0.01 < np.abs(samples).max() <= 1
    assert 0.1 < len(samples) / RATE <= LONGEST_S
    assert 0 < len(found[0]) < len(samples) / 2


async def test_company_changes_nothing(load: Load) -> None:
    """Three callers on two places, who come, wait and leave at different tokens."""
    engine = await load(batch=2)
    alone = await spoken(engine, "Me too.", 7)
    _, together, again = await asyncio.gather(
        spoken(engine, "What now?", 1), spoken(engine, "Me too.", 7), spoken(engine, "Me too.", 7)
    )
    assert difference_db(together, alone) < SAME_DB
    assert difference_db(again, alone) < SAME_DB


async def test_who_leaves_takes_nobody_along(load: Load) -> None:
    engine = await load()
    leaving, staying = engine.speak(utterance(LONG)), asyncio.create_task(spoken(engine, "Me too.", 7))
    await anext(leaving)
    await leaving.aclose()
    assert difference_db(await staying, await spoken(engine, "Me too.", 7)) < SAME_DB


async def test_who_gives_up_waiting_is_forgotten(load: Load) -> None:
    engine = await load(batch=1)
    speaking = engine.speak(utterance(LONG))
    await anext(speaking)
    waiting = asyncio.create_task(spoken(engine, "Me too."))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await speaking.aclose()
    assert len(await spoken(engine, "Next."))


async def test_closing_the_engine_ends_whoever_speaks(family: Callable[..., Family], spec: EngineSpec) -> None:
    engine = await family().load(spec)
    speaking = engine.speak(utterance(LONG))
    await anext(speaking)
    await engine.close()
    with pytest.raises(EngineFailure):
        _ = [piece async for piece in speaking]


async def test_rate_changes_the_length(load: Load) -> None:
    engine = await load()
    slow, fast = [sum(map(len, await pieces(engine, utterance("Hello.", rate=rate)))) for rate in (0.5, 2)]
    assert slow / fast == pytest.approx(4, rel=0.15)


async def test_a_clip_becomes_a_voice(load: Load) -> None:
    engine = await load()
    assert isinstance(engine, Cloner)
    latents = await engine.clone(HUM)
    assert {each.dtype for each in latents.values()} == {np.dtype(np.float32)}
    cloned = np.concatenate(await pieces(engine, utterance("Hello.", latents=latents)))
    built_in = await spoken(engine, "Hello.")
    assert len(cloned) != len(built_in) or difference_db(cloned, built_in) > SAME_DB


async def test_an_unknown_speaker_is_a_failure_and_the_next_one_is_spoken(load: Load) -> None:
    engine, good = await load(), utterance("Hello.")
    with pytest.raises(EngineFailure, match="Nobody"):
        await pieces(engine, replace(good, voice=replace(good.voice, native="Nobody")))
    assert len(await spoken(engine, "Hello."))


@pytest.mark.parametrize(
    "latents",
    [
        {"gpt_cond_latent": np.zeros((32, 128), np.float32), "speaker_embedding": np.zeros(512, np.float32)},
        {"gpt_cond_latent": np.zeros((32, 64), np.float32), "speaker_embedding": np.zeros(256, np.float32)},
        {"another engine's": np.zeros(1, np.float32)},
    ],
)
async def test_a_voice_of_another_checkpoint_is_told_and_disturbs_nobody(load: Load, latents: Latents) -> None:
    engine = await load()
    alone = await spoken(engine, "Me too.", 7)
    bad, good = await asyncio.gather(
        pieces(engine, utterance("Hello.", latents=latents)), spoken(engine, "Me too.", 7), return_exceptions=True
    )
    assert isinstance(bad, VoiceUnusable)
    assert isinstance(good, np.ndarray)
    assert difference_db(good, alone) < SAME_DB


async def test_more_text_than_the_model_takes_is_spoken_in_parts(load: Load) -> None:
    assert len(await spoken(await load(), LONG)) / RATE > LONGEST_S


async def test_voices_are_those_of_the_checkpoint(family: Callable[..., Family], spec: EngineSpec) -> None:
    roster = await family().roster(spec)
    assert [(each.id, each.native) for each in roster.voices] == [
        ("tiny_xtts/ada-one", "Ada One"),
        ("tiny_xtts/bob-two", "Bob Two"),
    ]
    assert roster.defaults["de"] == "tiny_xtts/ada-one"


async def test_without_a_checkpoint_the_known_voices_are_listed(family: Callable[..., Family]) -> None:
    roster = await family().roster(EngineSpec("xtts", "coqui/XTTS-v2"))
    assert len(roster.voices) == 58
    assert "xtts/camilla-holmstrom" in {each.id for each in roster.voices}


@pytest.mark.parametrize("source", ["coqui/XTTS-v2", "nowhere"])
async def test_what_is_not_there_says_how_to_get_it(family: Callable[..., Family], source: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"non-commercial.*COQUI_TOS_AGREED=1|config\.json"):
        await family(models_dir=tmp_path).load(EngineSpec("xtts", source))


def early(text: str, seed: int = 0) -> Utterance:
    return replace(utterance(text, seed), ahead=True)


def count_steps(engine: XttsEngine, on_step: Callable[[int], None] = lambda _: None) -> list[int]:
    """Return the numbers of rows in each pass of the GPT from now on; `on_step` is told how many there were."""
    steps = list[int]()
    layer: Any = engine._instrument.choir.placed.gpt.gpt.ln_f

    def count(_: Any, arguments: Any) -> None:
        steps.append(len(arguments[0]))
        on_step(len(steps))

    layer.register_forward_pre_hook(count)
    return steps


async def test_what_is_begun_ahead_shares_passes_and_says_the_same(load: Load) -> None:
    engine = await load()
    alone = await spoken(engine, "Me too.", 7)
    steps = count_steps(engine)
    now, later = engine.speak(utterance("What now?", 1)), engine.speak(early("Me too.", 7))
    first, begun = await asyncio.gather(anext(now), anext(later))
    _ = [piece async for piece in now]
    following = [piece async for piece in later]
    assert isinstance(begun, np.ndarray)
    assert isinstance(first, np.ndarray)
    assert 0 < len(begun) < len(alone)
    assert difference_db(np.concatenate([begun, *following]), alone) < SAME_DB
    assert 2 in steps


async def test_what_is_begun_ahead_makes_room_for_whoever_is_listened_to(load: Load) -> None:
    """The listener comes at the third token, long before the first piece of what was begun."""
    engine, loop = await load(batch=1), asyncio.get_running_loop()
    alone = await spoken(engine, "Me too.", 7)
    stage = engine._stage
    (speech,) = await engine._worker.run(lambda _: list(engine._instrument.speeches(utterance("What now?", 1))))
    heard, listener = list[str](), list[asyncio.Task[None]]()

    async def listen() -> None:
        async for _ in stage.speak(speech):
            heard.append("listener")

    async def come() -> None:
        listener.append(asyncio.create_task(listen()))
        await asyncio.sleep(0)

    def on_step(count: int) -> None:
        if count == 3:
            asyncio.run_coroutine_threadsafe(come(), loop).result(timeout=60)

    count_steps(engine, on_step)
    begun = list[Samples]()
    async for piece in engine.speak(early("Me too.", 7)):
        assert isinstance(piece, np.ndarray)
        heard.append("begun")
        begun.append(piece)
    await listener[0]
    assert heard.index("listener") < heard.index("begun")
    assert difference_db(np.concatenate(begun), alone) < SAME_DB


async def test_what_nobody_listens_to_holds_no_place_and_can_be_left(load: Load) -> None:
    engine = await load(batch=1)
    later = engine.speak(early("What now?", 1))
    await anext(later)
    assert len(await spoken(engine, "Me too.", 7))
    await later.aclose()
    assert len(await spoken(engine, "Me too.", 7))


async def test_closing_the_engine_ends_what_nobody_listens_to(family: Callable[..., Family], spec: EngineSpec) -> None:
    engine = await family().load(spec)
    later = engine.speak(early("What now?", 1))
    await anext(later)
    await engine.close()
    with pytest.raises(EngineFailure):
        _ = [piece async for piece in later]
