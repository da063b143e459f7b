"""XTTS with random weights of full size: our streaming beside coqui-tts's own, and a batch beside its texts one by one.

Both read the same checkpoint and run on all cores, in turns. Its configuration ends every text after 200 audio tokens,
9.3 s; random weights rarely stop by themselves. Both run as they ship: coqui-tts in float32 with pieces of 20 tokens,
ours in the data type that the device plan chooses.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import torch

from bench._figures import Figure
from recipes.random_xtts import FULL, save
from servekit.device import plan_device
from services.voice.domain import EngineSpec, Utterance, Voice
from services.voice.engines.xtts import speakers
from services.voice.engines.xtts.engine import Family, XttsEngine

TOKENS = 200
TEXTS = (
    "A small boat left the harbour before the sun was up, and nobody saw it go.",
    "The letter had lain on the table for a week when she opened it at last.",
    "There were seven chairs around the fire, and one of them was always empty.",
    "He counted the steps to the tower every evening, and never got the same number.",
)
ROUNDS = 1
"""A round is six texts of full length: minutes on two cores."""
SPEC = EngineSpec("random", "random")
ADA = Voice("random/ada-one", "Ada One", "random", ("en",), native="Ada One")


def run() -> list[Figure]:
    """Make the checkpoint and measure."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), {**FULL, "gpt_max_audio_tokens": TOKENS + 3}))


async def measure(models: Path, arguments: dict[str, Any]) -> list[Figure]:
    """Measure a checkpoint of these `XttsArgs`, to be made in `models`."""
    folder = save(models / SPEC.source, **arguments)
    upstream, dtype = _upstream(folder), plan_device("cpu").dtype
    engine = await _load(models, dtype)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(_timed(upstream()))
        ours.append(await _spoken(engine, TEXTS[0]))
    figures = [*_streaming(dtype, theirs, ours), await _batch(engine, dtype)]
    await engine.close()
    return figures


def _upstream(folder: Path) -> Callable[[], Iterator[Any]]:
    """Return coqui-tts's stream of the first text, from a checkpoint that it loads as it does."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    config = XttsConfig()
    config.load_json(folder / "config.json")
    model: Any = Xtts(config)
    model.load_checkpoint(config, checkpoint_dir=folder, eval=True)
    voice = speakers.read(folder)["Ada One"]
    how = {name: config[name] for name in ("temperature", "top_k", "top_p", "repetition_penalty")}
    torch.set_num_threads(plan_device("cpu").threads)
    return lambda: iter(
        model.inference_stream(TEXTS[0], "en", voice.conditioning[None], voice.speaker[None, :, None], **how)
    )


async def _load(models: Path, dtype: str) -> XttsEngine:
    threads = plan_device("cpu").threads
    how = {"device": "cpu", "dtype": dtype, "batch": len(TEXTS), "threads": threads, "agreed": False}
    engine = await Family(models_dir=models, on_placed=lambda _: None, **how).load(SPEC)  # type: ignore[arg-type]
    await _spoken(engine, "Hm.")
    return engine


def _timed(pieces: Iterator[Any]) -> tuple[float, float]:
    """Return the seconds to the first piece and to the last."""
    begin = time.perf_counter()
    next(pieces)
    first = time.perf_counter() - begin
    for _ in pieces:
        pass
    return first, time.perf_counter() - begin


async def _spoken(engine: XttsEngine, text: str) -> tuple[float, float]:
    """Return the seconds to the first piece and to the last."""
    begin, first = time.perf_counter(), 0.0
    async with aclosing(engine.speak(Utterance(text, ADA, "en", seed=1))) as pieces:
        async for _ in pieces:
            first = first or time.perf_counter() - begin
    return first, time.perf_counter() - begin


async def _batch(engine: XttsEngine, dtype: str) -> Figure:
    singly, together = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for text in TEXTS:
            await _spoken(engine, text)
        singly.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        await asyncio.gather(*(_spoken(engine, text) for text in TEXTS))
        together.append(time.perf_counter() - begin)
    what = f"{len(TEXTS)} texts one by one over {len(TEXTS)} in a batch, ours in {dtype}"
    return Figure(what, min(singly) / min(together), "times", ROUNDS, aim=">= 1.8")


def _streaming(dtype: str, theirs: list[tuple[float, float]], ours: list[tuple[float, float]]) -> list[Figure]:
    """Return ratios and seconds, the best of all rounds: whatever else the machine does only adds."""
    first, total = (min(each) for each in zip(*theirs, strict=True))
    our_first, our_total = (min(each) for each in zip(*ours, strict=True))
    how = f"coqui-tts over ours in {dtype}, {TOKENS} audio tokens"
    return [
        Figure(f"total time: {how}", total / our_total, "times", ROUNDS, aim=">= 2"),
        Figure(f"first piece: {how}", first / our_first, "times", ROUNDS, aim=">= 2"),
        Figure(f"total time of coqui-tts, {TOKENS} audio tokens", total, "s", ROUNDS),
        Figure(f"first piece of coqui-tts, {TOKENS} audio tokens", first, "s", ROUNDS),
        Figure(f"total time of ours in {dtype}", our_total, "s", ROUNDS),
        Figure(f"first piece of ours in {dtype}", our_first, "s", ROUNDS),
    ]
