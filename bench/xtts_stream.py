"""XTTS with random weights of full size: our streaming beside coqui-tts's own, and a batch beside its texts one by one.

Both read the same checkpoint and run on all cores, in turns. Its configuration ends every text after 200 audio tokens,
9.3 s; random weights rarely stop by themselves. Both run as they ship: coqui-tts in float32 with pieces of 20 tokens,
ours in the data type that the device plan chooses. A round is one text by coqui-tts, four one by one by ours (the first
of them is what coqui-tts spoke), and the same four in a batch. Figures are medians of rounds.

A round is about 220 s of one core: ours takes some 70 ms of it for a token and 6.5 ms for a frame of the vocoder (1100
windowed frames a text), coqui-tts decodes 4800 frames a text. No round is begun that would end after six minutes.

`python -m bench.xtts_stream --tokens 24 --layers 2 --rounds 1` runs a shrunken one, and writes nothing.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench._figures import Figure, table
from recipes.random_xtts import FULL, save
from servekit.device import plan_device
from servekit.worker import DeviceWorker
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
ROUNDS = 3
BUDGET_S = 360.0
"""Seconds from the start, checkpoint included, after which no round should end. One round there is always."""
SPEC = EngineSpec("random", "random")
ADA = Voice("random/ada-one", "Ada One", "random", ("en",), native="Ada One")


@dataclass(frozen=True, slots=True)
class Heard:
    """Seconds to the first piece and to the last."""

    first_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round's seconds."""

    theirs: Heard
    ours: Heard
    singly_s: float
    together_s: float


def run() -> list[Figure]:
    """Make the checkpoint and measure."""
    return measured({**FULL, "gpt_max_audio_tokens": TOKENS + 3}, TOKENS, ROUNDS)


def measured(arguments: dict[str, Any], tokens: int, rounds: int) -> list[Figure]:
    """Measure a checkpoint of these `XttsArgs`, which end a text after `tokens`, in at most so many rounds."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found, dtype = asyncio.run(_measure(Path(folder), arguments, rounds, begin)), plan_device("cpu").dtype
    return [*_streaming(dtype, tokens, found), _batch(dtype, tokens, found)]


async def _measure(models: Path, arguments: dict[str, Any], most: int, begin: float) -> list[Round]:
    folder = save(models / SPEC.source, **arguments)
    worker = DeviceWorker("voice-device")
    await worker.start()
    upstream, engine = _upstream(folder), await _load(models, worker)
    rounds, longest = list[Round](), 0.0
    while not rounds or (len(rounds) < most and time.perf_counter() + longest < begin + BUDGET_S):
        began = time.perf_counter()
        rounds.append(await _round(upstream, engine))
        longest = max(longest, time.perf_counter() - began)
    await engine.close()
    await worker.close()
    return rounds


async def _round(upstream: Callable[[], Iterator[Any]], engine: XttsEngine) -> Round:
    theirs = _timed(upstream())
    began = time.perf_counter()
    ours = [await _spoken(engine, text) for text in TEXTS]
    between = time.perf_counter()
    await asyncio.gather(*(_spoken(engine, text) for text in TEXTS))
    return Round(theirs, ours[0], between - began, time.perf_counter() - between)


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


async def _load(models: Path, worker: DeviceWorker) -> XttsEngine:
    """Return ours, which has spoken once."""
    plan = plan_device("cpu")
    family = Family(
        worker=worker,
        device="cpu",
        dtype=plan.dtype,
        batch=len(TEXTS),
        threads=plan.threads,
        agreed=False,
        models_dir=models,
        on_placed=lambda _: None,
    )
    engine = await family.load(SPEC)
    async with aclosing(engine.speak(Utterance("Hm.", ADA, "en", seed=1))) as pieces:
        await anext(pieces)
    return engine


def _timed(pieces: Iterator[Any]) -> Heard:
    begin = time.perf_counter()
    next(pieces)
    first_s = time.perf_counter() - begin
    for _ in pieces:
        pass
    return Heard(first_s, time.perf_counter() - begin)


async def _spoken(engine: XttsEngine, text: str) -> Heard:
    begin, first_s = time.perf_counter(), 0.0
    async with aclosing(engine.speak(Utterance(text, ADA, "en", seed=1))) as pieces:
        async for _ in pieces:
            first_s = first_s or time.perf_counter() - begin
    return Heard(first_s, time.perf_counter() - begin)


def _batch(dtype: str, tokens: int, rounds: list[Round]) -> Figure:
    what = f"{len(TEXTS)} texts one by one over {len(TEXTS)} in a batch, ours in {dtype}, {tokens} audio tokens each"
    return Figure(what, median(each.singly_s / each.together_s for each in rounds), "times", len(rounds), aim=">= 1.8")


def _streaming(dtype: str, tokens: int, rounds: list[Round]) -> list[Figure]:
    how, samples = f"coqui-tts over ours in {dtype}, {tokens} audio tokens", len(rounds)
    total = median(each.theirs.total_s / each.ours.total_s for each in rounds)
    first = median(each.theirs.first_s / each.ours.first_s for each in rounds)
    seconds = {
        "total time of coqui-tts": median(each.theirs.total_s for each in rounds),
        "first piece of coqui-tts": median(each.theirs.first_s for each in rounds),
        f"total time of ours in {dtype}": median(each.ours.total_s for each in rounds),
        f"first piece of ours in {dtype}": median(each.ours.first_s for each in rounds),
    }
    return [
        Figure(f"total time: {how}", total, "times", samples, aim=">= 2"),
        Figure(f"first piece: {how}", first, "times", samples, aim=">= 2"),
        *(Figure(what, value, "s", samples) for what, value in seconds.items()),
    ]


def main() -> None:
    """Measure what the command line says, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="audio tokens of a text")
    parser.add_argument("--layers", type=int, default=30, help="layers of the GPT; XTTS v2 has 30")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds at most")
    chosen = parser.parse_args()
    arguments = {**FULL, "gpt_max_audio_tokens": chosen.tokens + 3, "gpt_layers": chosen.layers}
    print(table(measured(arguments, chosen.tokens, chosen.rounds)))


if __name__ == "__main__":
    main()
