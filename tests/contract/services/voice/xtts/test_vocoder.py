"""The vocoder on a stream gives what upstream's gives at once, for a cost that grows with the length alone."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.voice.domain import Samples
from services.voice.engines.xtts import checkpoint, speakers
from services.voice.engines.xtts.modes import on_cpu
from services.voice.engines.xtts.placement import Placed
from services.voice.engines.xtts.vocoder import Vocoder, VocoderStream, Window
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

    def decode(self, windows: Sequence[Window]) -> list[Samples]:
        self.frames += sum(each.frames.shape[1] for each in windows)
        return [np.zeros(each.frames.shape[1] * self.hop, np.float32) for each in windows]


def streamed(vocoder: Vocoder, speaker: torch.Tensor, latents: torch.Tensor, sizes: tuple[int, ...]) -> Samples:
    stream, made, begin = opened(vocoder, speaker), [], 0
    for size in sizes:
        stream.stretch(latents[:, begin : begin + size], final=begin + size == latents.shape[1])
        if stream.due:
            made.append(stream.take(vocoder.decode([stream.window()])[0]))
        begin += size
    return np.concatenate(made)


def opened(vocoder: Vocoder, speaker: torch.Tensor) -> VocoderStream:
    return VocoderStream(vocoder.scales, speaker, hop=vocoder.hop, context=vocoder.context)


def test_pieces_joined_are_what_upstream_makes_at_once(placed: Placed, folder: Path) -> None:
    torch.manual_seed(1)
    speaker = speakers.read(folder)["Ada One"].speaker
    latents = torch.randn(64, sum(PIECES))
    once = placed.model.hifigan_decoder(latents.T[None], g=speaker[None, :, None])[0, 0].numpy()
    assert difference_db(streamed(placed.vocoder, speaker, latents, PIECES), once) < SAME_DB


def test_windows_of_several_rows_in_one_pass_are_each_by_itself(placed: Placed, folder: Path) -> None:
    """Windows of any lengths, some of which end their text."""
    torch.manual_seed(3)
    alone = placed.vocoder
    together = Vocoder(
        alone._generator, "cpu", scales=alone.scales, hop=alone.hop, context=alone.context, together=True
    )
    voices = [each.speaker for each in speakers.read(folder).values()]
    streams = [opened(alone, voice) for voice in voices * 2]
    passes = count_passes(placed)
    for turn, final in enumerate((False, False, True)):
        for row, stream in enumerate(streams):
            stream.stretch(torch.randn(64, 8 + 5 * row), final=final and row % 2 == 0)
        windows = [stream.window() for stream in streams]
        singly = [stream.take(made) for stream, made in zip(deepcopy(streams), alone.decode(windows), strict=True)]
        passes.clear()
        made = together.decode(windows)
        assert passes == ([4], [4], [2, 1, 1])[turn]
        for stream, samples, expected in zip(streams, made, singly, strict=True):
            assert difference_db(stream.take(samples), expected) < SAME_DB


def count_passes(placed: Placed) -> list[int]:
    """Return a list of the numbers of windows in each pass from now on."""
    passes = list[int]()
    layer: Any = placed.model.hifigan_decoder.waveform_decoder.conv_pre
    layer.register_forward_pre_hook(lambda _, arguments: passes.append(len(arguments[0])))
    return passes


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
    reference = vocoder.decode([Window(frames, speaker, final=False)])[0][: vocoder.hop]
    for place, changes in ((context + 1, False), (context - 2, True)):
        other = frames.clone()
        other[:, place] += 10
        made = vocoder.decode([Window(other, speaker, final=False)])[0][: vocoder.hop]
        assert bool((made != reference).any()) is changes


def test_everything_in_the_right_place(placed: Placed) -> None:
    assert (placed.vocoder.hop, placed.vocoder.context) == (256, 14)
    assert not any("parametrizations" in name for name, _ in placed.model.hifigan_decoder.named_parameters())


def test_speakers_are_of_the_width_of_the_model(placed: Placed, folder: Path) -> None:
    found: Any = speakers.read(folder)["Bob Two"]
    assert (found.conditioning.shape, found.speaker.shape) == ((32, 64), (512,))
