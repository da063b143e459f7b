"""The vocoder on a stream gives what upstream's gives at once, for a cost that grows with the length alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.voice.domain import Samples
from services.voice.engines.xtts import checkpoint, speakers
from services.voice.engines.xtts.modes import on_cpu
from services.voice.engines.xtts.placement import Placed
from services.voice.engines.xtts.vocoder import Vocoder, VocoderStream
from tests.contract.services.voice.xtts.hearing import SAME_DB, difference_db

PIECES = (8, 1, 9, 4)


@pytest.fixture(scope="module")
def placed(folder: Path) -> Placed:
    return Placed(checkpoint.load(folder), on_cpu("for a test"), torch.float32)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Counting(Vocoder):
    """Counts the frames it decodes."""

    frames = 0

    def decode(self, frames: torch.Tensor, speaker: torch.Tensor) -> Samples:
        self.frames += frames.shape[1]
        return np.zeros(frames.shape[1] * self.hop, np.float32)


def streamed(vocoder: Vocoder, speaker: torch.Tensor, latents: torch.Tensor, sizes: tuple[int, ...]) -> Samples:
    stream, made, begin = VocoderStream(vocoder.scales, speaker), [], 0
    for size in sizes:
        final = begin + size == latents.shape[1]
        stream.stretch(latents[:, begin : begin + size], final=final)
        made.append(stream.decode(vocoder, final=final))
        begin += size
    return np.concatenate(made)


def test_pieces_joined_are_what_upstream_makes_at_once(placed: Placed, folder: Path) -> None:
    torch.manual_seed(1)
    speaker = speakers.read(folder)["Ada One"].speaker
    latents = torch.randn(64, sum(PIECES))
    once = placed.model.hifigan_decoder(latents.T[None], g=speaker[None, :, None])[0, 0].numpy()
    assert difference_db(streamed(placed.vocoder, speaker, latents, PIECES), once) < SAME_DB


@pytest.mark.parametrize("tokens", [1, 2, 300, 602])
def test_the_cost_is_linear_and_every_sample_is_there(placed: Placed, tokens: int) -> None:
    known = placed.vocoder
    counting = Counting(None, "cpu", scales=known.scales, hop=known.hop, context=known.context)
    sizes = tuple(min(32, tokens - at) for at in range(0, tokens, 32))
    samples = streamed(counting, torch.zeros(512), torch.zeros(64, tokens), sizes)
    frames = len(samples) // known.hop
    assert frames == int(int(tokens * known.scales[0]) * known.scales[1])
    assert counting.frames <= frames + 2 * known.context * len(sizes)


def test_the_context_is_no_wider_than_needed(placed: Placed) -> None:
    """A frame within the context of a sample changes it, one beyond does not."""
    vocoder, context = placed.vocoder, placed.vocoder.context
    torch.manual_seed(2)
    frames, speaker = torch.randn(64, 2 * context + 2), torch.zeros(512)
    reference = vocoder.decode(frames, speaker)[: vocoder.hop]
    for place, changes in ((context + 1, False), (context - 2, True)):
        other = frames.clone()
        other[:, place] += 10
        assert bool((vocoder.decode(other, speaker)[: vocoder.hop] != reference).any()) is changes


def test_everything_in_the_right_place(placed: Placed) -> None:
    assert (placed.vocoder.hop, placed.vocoder.context) == (256, 14)
    assert not any("parametrizations" in name for name, _ in placed.model.hifigan_decoder.named_parameters())


def test_speakers_are_of_the_width_of_the_model(placed: Placed, folder: Path) -> None:
    found: Any = speakers.read(folder)["Bob Two"]
    assert (found.conditioning.shape, found.speaker.shape) == ((32, 64), (512,))
