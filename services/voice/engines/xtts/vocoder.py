"""XTTS's vocoder on a stream: only a window around what is new is decoded, so the cost is linear in the length."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from services.voice.domain import Samples
from services.voice.engines.xtts.interpolation import Interpolator


class Vocoder:
    """A `TTS.vocoder.models.hifigan_generator.HifiganGenerator` on a device, with what is known of it.

    `scales` are the steps in which latents are stretched to its frames; a frame becomes `hop` samples, and depends on
    `context` frames to each side.
    """

    def __init__(self, generator: Any, device: str, *, scales: tuple[float, ...], hop: int, context: int) -> None:
        self.scales = scales
        self.hop = hop
        self.context = context
        self._generator = generator
        self._device = device

    def decode(self, frames: torch.Tensor, speaker: torch.Tensor) -> Samples:
        """Return the samples of frames (channels, n) in the voice of a speaker (channels,); both on the host."""
        made = self._generator(frames[None].to(self._device), g=speaker[None, :, None].to(self._device))
        return np.asarray(made[0, 0].float().cpu().numpy())


class VocoderStream:
    """The audio of one row. A `push` that fails changes nothing, so that it can be made again on another device."""

    def __init__(self, scales: tuple[float, ...], speaker: torch.Tensor) -> None:
        self._speaker = speaker
        self._interpolators = [Interpolator(scale) for scale in scales]
        self._frames = torch.empty(0, 0)
        self._begin = 0
        """Place of the first of `_frames` in the whole."""
        self._out = 0
        """Frames that are out as samples."""

    def stretch(self, latents: torch.Tensor, *, final: bool) -> None:
        """Add latents (channels, n); with `final` the last ones."""
        for interpolator in self._interpolators:
            latents = interpolator.push(latents, final=final)
        self._frames = torch.cat([self._frames, latents], dim=1) if self._frames.numel() else latents

    def decode(self, vocoder: Vocoder, *, final: bool) -> Samples:
        """Return the samples that no later latent can change; with `final` all."""
        end = self._begin + self._frames.shape[1]
        stop = end if final else end - vocoder.context
        if stop <= self._out:
            return np.empty(0, np.float32)
        first = max(self._begin, self._out - vocoder.context)
        made = vocoder.decode(self._frames[:, first - self._begin :], self._speaker)
        samples = made[(self._out - first) * vocoder.hop : (stop - first) * vocoder.hop]
        self._out = stop
        self._forget(max(self._begin, stop - vocoder.context))
        return samples

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
