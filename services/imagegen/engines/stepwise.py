"""The loop that every family taken apart into steps has in common: prepare, step, finish.

What a family does its own way (how it reads a prompt, plans its steps and calls its network) is a `Family`. Each is
held to the pixels of its own diffusers pipeline by `tests/contract/services/imagegen`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from diffusers.utils.torch_utils import randn_tensor

from servekit.device import weight_bytes
from servekit.errors import ModelUnavailable
from services.imagegen.domain import Decoded, DecoderName, Job, Pixels
from services.imagegen.engines.adapters import Wardrobe
from services.imagegen.engines.decoder import Decoder
from services.imagegen.engines.denoising import Denoising, Kept, Leg, predict
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.pictures import all_finite, modules_of, to_pixels
from services.imagegen.engines.tokens import token_counter
from services.imagegen.engines.vae import Vae
from services.imagegen.engines.watching import Watch
from services.imagegen.ports import Pulse

_PIXELS_AT_ONCE = 512 * 512
"""Of pictures decoded together. Larger ones keep a device busy by themselves, and would need the memory of all."""


class Family(Protocol):
    """What is one family's own."""

    vae: Vae
    side: int
    """Every picture is so many pixels wide and high, or a multiple."""

    def legs(self, job: Job) -> Sequence[Leg]:
        """Encode the prompt and plan the steps, from where the source picture lets them start."""

    def reading(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """Have the prompts of jobs with equal adapters encoded in one pass, for `legs` inside the block."""


class StepwiseEngine:
    """Runs a family, several requests to a forward pass. See `ports.Engine`."""

    def __init__(self, parts: Parts, family: Family) -> None:
        wanted = parts.row.size.multiple_of
        if wanted % family.side:
            raise ModelUnavailable(
                f"{parts.row.id}: size.multiple_of is {wanted} in the catalog; these weights need {family.side}"
            )
        self.max_batch = parts.max_batch
        self._family = family
        self._parts = parts
        self._adapters = Wardrobe(parts.pipeline, parts.adapter_path)
        self._count_tokens = token_counter(parts.pipeline)
        self._watch = Watch(parts)
        self._decoders = _decoders(parts, family.vae.decoder)

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """The torch modules that hold the weights."""
        return modules_of(self._parts)

    @property
    def resident_bytes(self) -> int:
        """Bytes that the weights take, adapters included."""
        return weight_bytes(self.modules)

    def prepare(self, job: Job) -> Denoising:
        """Encode the prompt and draw the noise, on the CPU, so that a seed means the same on every device."""
        self._adapters.wear(job.adapters)
        with torch.inference_mode():
            return self._prepared(job)

    def prepare_all(self, jobs: Sequence[Job]) -> list[Denoising]:
        """Do as `prepare` for each, the prompts in one pass: to an encoder several short texts are hardly more."""
        self._adapters.wear(jobs[0].adapters)
        with torch.inference_mode(), self._family.reading(jobs):
            return [self._prepared(job) for job in jobs]

    def step(self, states: Sequence[Denoising], pulse: Pulse) -> None:
        """Advance every state by one step, those that forecast nothing in one forward pass.

        All have the same batch key.
        """
        del pulse  # one step a call: the caller sees every step itself
        self._adapters.wear(states[0].job.adapters)
        computing = [state for state in states if not state.forecasts]
        forecasting = [state for state in states if state.forecasts]
        with torch.inference_mode():
            for state, prediction in zip(computing, predict(computing) if computing else [], strict=True):
                state.learn(prediction)
                state.advance(prediction)
            for state in forecasting:
                state.advance(state.forecast())

    def finish(self, state: Denoising, *, fp32: bool = False) -> Decoded:
        """Decode the latents to a picture."""
        return self._decoded([state], fp32=fp32)[0]

    def finish_all(self, states: Sequence[Denoising]) -> list[Decoded]:
        """Decode the latents of states that shared a forward pass, as many at once as are small."""
        job, decoders = states[0].job, {each.job.decoder for each in states}
        at_once = max(1, _PIXELS_AT_ONCE // (job.width * job.height)) if len(decoders) == 1 else 1
        parts = [states[begin : begin + at_once] for begin in range(0, len(states), at_once)]
        return [decoded for part in parts for decoded in self._decoded(part)]

    def preview(self, state: Denoising) -> Pixels | None:
        """Return a small picture of where the state is heading."""
        if state.clean is None:
            return None
        with torch.inference_mode():
            return to_pixels(self._decoders.get("tiny", self._decoders["full"]).glance(state.clean))

    def watching(self, look: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `look` before each block of the model, inside the block."""
        return self._watch.calling(look)

    def _prepared(self, job: Job) -> Denoising:
        generator = torch.Generator("cpu").manual_seed(job.seed)
        legs = self._family.legs(job)
        latents, kept = self._canvas(job, legs[0], generator)
        return Denoising(job, self._count_tokens(job.prompt), latents, legs, generator, kept)

    def _decoded(self, states: Sequence[Denoising], *, fp32: bool = False) -> list[Decoded]:
        decoder = self._decoders[states[0].job.decoder]
        with torch.inference_mode():
            images, tiled = decoder.decode(torch.cat([each.latents for each in states]), fp32=fp32)
            finite = [all_finite(each.latents) for each in states]
        return [
            Decoded(
                pixels=to_pixels(image),
                finite=latents_finite and all_finite(image),
                can_decode_fp32=latents_finite and not fp32 and not decoder.decodes_in_fp32,
                tiled=tiled,
            )
            for image, latents_finite in zip(images, finite, strict=True)
        ]

    def _canvas(self, job: Job, leg: Leg, generator: torch.Generator) -> tuple[torch.Tensor, Kept | None]:
        """Return the latents before the first step, and what of them is to stay. The source is drawn first."""
        vae, like = self._family.vae, leg.text[0]
        source = None if job.source is None else vae.encode(job.source.pixels, job, like.dtype, generator)
        noise = randn_tensor(vae.shape(job), generator=generator, device=like.device, dtype=like.dtype)
        if source is None or job.source is None or job.source.mask is None:
            return leg.begin(source, noise), None
        kept = Kept(source, noise, vae.mask(job.source.mask, job, noise))
        vae.draw(source, generator)  # the library samples the masked picture too, for networks that read it
        return leg.begin(source if job.source.strength < 1 else None, noise), kept


def _decoders(parts: Parts, full: Decoder) -> Mapping[DecoderName, Decoder]:
    """Return what can make pictures of the latents. Raises `ModelUnavailable` if the tiny one is made for others."""
    if parts.tiny_vae is None:
        return {"full": full}
    tiny = Decoder(parts.tiny_vae)
    if (tiny.channels, tiny.factor) != (full.channels, full.factor):
        raise ModelUnavailable(
            f"{parts.row.id}: tiny_vae reads latents of {tiny.channels} channels, {tiny.factor} pixels a side each;"
            f" these weights make {full.channels} channels of {full.factor}"
        )
    return {"full": full, "tiny": tiny}
