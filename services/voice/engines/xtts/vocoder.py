"""XTTS's vocoder on a stream: only a window around what is new is decoded, so the cost is linear in the length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from services.voice.domain import Samples
from services.voice.engines.xtts.interpolation import Interpolator


@dataclass(frozen=True, slots=True)
class Window:
    """Frames (channels, n) to be decoded in the voice of a speaker (channels,); both on the host."""

    frames: torch.Tensor
    speaker: torch.Tensor
    final: bool
    """True if nothing follows the frames: how the layers pad them is part of the sound."""


class Vocoder:
    """A `TTS.vocoder.models.hifigan_generator.HifiganGenerator` on a device, with what is known of it.

    `scales` are the steps in which latents are stretched to its frames; a frame becomes `hop` samples, and depends on
    `context` frames to each side. `together` tells to decode windows in one pass: on a CPU each has a pass of its own,
    since the arithmetic is the same, and tensors that outgrow the caches cost page faults, up to a third of the time.
    """

    def __init__(
        self, generator: Any, device: str, *, scales: tuple[float, ...], hop: int, context: int, together: bool = False
    ) -> None:
        self.scales = scales
        self.hop = hop
        self.context = context
        self._generator = generator
        self._device = device
        self._together = together

    def decode(self, windows: Sequence[Window]) -> list[Samples]:
        """Return the samples of each window.

        Those that go on are decoded together: what they are padded with on the right cannot reach what is heard.
        """
        if not self._together:
            return [self._pass([each])[0] for each in windows]
        going_on = iter(self._pass([each for each in windows if not each.final]))
        return [self._pass([each])[0] if each.final else next(going_on) for each in windows]

    def _pass(self, windows: Sequence[Window]) -> list[Samples]:
        """Return the samples of windows, padded on the right to a common length."""
        if not windows:
            return []
        frames = pad_sequence([each.frames.T for each in windows], batch_first=True).transpose(1, 2)
        speakers = torch.stack([each.speaker for each in windows])[:, :, None]
        made = self._generator(frames.to(self._device), g=speakers.to(self._device))[:, 0].float().cpu().numpy()
        return [np.asarray(row[: each.frames.shape[1] * self.hop]) for row, each in zip(made, windows, strict=True)]


class VocoderStream:
    """The audio of one row. Until a window is taken it can be made again, on another device too."""

    def __init__(self, scales: tuple[float, ...], speaker: torch.Tensor, *, hop: int, context: int) -> None:
        self._speaker = speaker
        self._hop = hop
        self._context = context
        self._interpolators = [Interpolator(scale) for scale in scales]
        self._frames = torch.empty(0, 0)
        self._begin = 0
        """Place of the first of `_frames` in the whole."""
        self._out = 0
        """Frames that are out as samples."""
        self._final = False

    @property
    def due(self) -> bool:
        """True if there is something to be heard that no later latent can change."""
        return self._stop > self._out

    def stretch(self, latents: torch.Tensor, *, final: bool) -> None:
        """Add latents (channels, n); with `final` the last ones."""
        for interpolator in self._interpolators:
            latents = interpolator.push(latents, final=final)
        self._frames = torch.cat([self._frames, latents], dim=1) if self._frames.numel() else latents
        self._final = final

    def window(self) -> Window:
        """Return what is to be decoded next."""
        return Window(self._frames[:, self._first - self._begin :], self._speaker, self._final)

    def take(self, made: Samples) -> Samples:
        """Return what is new in the samples of the window."""
        first, stop = self._first, self._stop
        samples = made[(self._out - first) * self._hop : (stop - first) * self._hop]
        self._out = stop
        self._forget(max(self._begin, stop - self._context))
        return samples

    @property
    def _first(self) -> int:
        return max(self._begin, self._out - self._context)

    @property
    def _stop(self) -> int:
        end = self._begin + self._frames.shape[1]
        return end if self._final else end - self._context

    def _forget(self, first: int) -> None:
        self._frames = self._frames[:, first - self._begin :]
        self._begin = first


def hop(generator: Any) -> int:
    """Return how many samples a frame becomes."""
    return math.prod(up.stride[0] for up in generator.ups)


def context_frames(generator: Any) -> int:
    """Return how many frames to each side a sample depends on: the radius of every layer, in frames, added up."""
    blocks = generator.num_kernels
    rate, reach = 1, _radius(generator.conv_pre)
    for index, up in enumerate(generator.ups):
        reach += (up.kernel_size[0] - 1 - up.padding[0]) / up.stride[0] / rate
        rate *= up.stride[0]
        parallel = generator.resblocks[index * blocks : (index + 1) * blocks]
        reach += max(sum(map(_radius, _convolutions(block))) for block in parallel) / rate
    return math.ceil(reach + _radius(generator.conv_post) / rate)


def _convolutions(block: nn.Module) -> list[nn.Conv1d]:
    return [each for each in block.modules() if isinstance(each, nn.Conv1d)]


def _radius(convolution: nn.Conv1d) -> float:
    return convolution.dilation[0] * (convolution.kernel_size[0] - 1) / 2
