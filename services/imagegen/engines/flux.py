"""FLUX: flow matching with a transformer that takes a timestep per sample, so requests share forward passes.

The arithmetic is that of `diffusers.FluxPipeline.__call__`, which is the oracle of its tests: the order of operations
differs only in that both halves of the guidance run in one batch.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from PIL import Image

from services.imagegen.catalog import ModelRow
from services.imagegen.domain import Decoded, Job, Pixels
from services.imagegen.engines.adapters import Wardrobe
from services.imagegen.engines.pictures import all_finite, measured_bytes, modules_of, to_pixels
from services.imagegen.engines.prompt_cache import Embeddings, PromptCache
from services.imagegen.engines.tokens import token_counter
from services.imagegen.ports import Pulse


@dataclass(eq=False, slots=True)
class FluxState:
    """One picture in the making."""

    job: Job
    batch_key: Hashable
    prompt_tokens: int
    latents: torch.Tensor
    """Packed latents, shape (1, patches, channels)."""
    text: Embeddings
    """Token embeddings (1, tokens, features) and pooled ones (1, features)."""
    negative: Embeddings | None
    """The same of the negative prompt; None without a second forward pass."""
    scheduler: Any
    first: int
    """Index of the first scheduled step that is taken: over 0 when starting from a picture."""
    done: int = 0
    clean: torch.Tensor | None = None
    """Estimate of the final latents, kept only when previews are wanted."""

    @property
    def total(self) -> int:
        """Denoising steps in all."""
        return len(self.scheduler.timesteps) - self.first

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the next step, 1000 to 0."""
        timestep: torch.Tensor = self.scheduler.timesteps[self.first + self.done]
        return timestep


class FluxEngine:
    """Runs FLUX models, several requests to a forward pass. See `ports.Engine`."""

    def __init__(self, row: ModelRow, pipeline: Any, adapter_path: Callable[[str], Path], max_batch: int) -> None:
        self.max_batch = max_batch
        self._row = row
        self._pipeline = pipeline
        self._transformer = pipeline.transformer
        self._device = pipeline.transformer.device
        self._patch_side = pipeline.vae_scale_factor * 2
        self._adapters = Wardrobe(pipeline, adapter_path)
        self._prompts = PromptCache()
        self._count_tokens = token_counter(pipeline)

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """The torch modules that hold the weights."""
        return modules_of(self._pipeline)

    @property
    def resident_bytes(self) -> int:
        """Bytes that the weights take, adapters included."""
        return measured_bytes(self._pipeline)

    def prepare(self, job: Job) -> FluxState:
        """Encode the prompt and draw the noise."""
        self._adapters.wear(job.adapters)
        with torch.inference_mode():
            text = self._encode(job, job.prompt)
            guided = self._row.cfg == "true" and job.guidance > 1
            negative = self._encode(job, job.negative_prompt) if guided else None
            scheduler, first = self._scheduler(job)
            latents = self._start(job, scheduler, first, text[0].dtype)
        key = (job.width, job.height, job.adapters, guided)
        return FluxState(
            job=job,
            batch_key=(key, id(job)) if job.alone else key,
            prompt_tokens=self._count_tokens(job.prompt),
            latents=latents,
            text=text,
            negative=negative,
            scheduler=scheduler,
            first=first,
        )

    def step(self, states: Sequence[FluxState], pulse: Pulse) -> None:
        """Advance every state by one step in one forward pass. All have the same batch key."""
        del pulse  # one step a call: the caller sees every step itself
        self._adapters.wear(states[0].job.adapters)
        with torch.inference_mode():
            velocities = self._velocities(states)
            for state, velocity in zip(states, velocities, strict=True):
                self._advance(state, velocity[None])

    def finish(self, state: FluxState, *, fp32: bool = False) -> Decoded:
        """Decode the latents to a picture."""
        with torch.inference_mode():
            image = self._decode(state.job, state.latents, fp32=fp32)
            latents_finite = all_finite(state.latents)
        return Decoded(
            pixels=to_pixels(image),
            finite=latents_finite and all_finite(image),
            can_decode_fp32=latents_finite and not fp32 and self._pipeline.vae.dtype != torch.float32,
        )

    def preview(self, state: FluxState) -> Pixels | None:
        """Return the picture that the current direction leads to."""
        if state.clean is None:
            return None
        with torch.inference_mode():
            return to_pixels(self._decode(state.job, state.clean, fp32=False))

    def _encode(self, job: Job, prompt: str) -> Embeddings:
        def encode() -> Embeddings:
            embeddings, pooled, _ = self._pipeline.encode_prompt(
                prompt=prompt, prompt_2=None, device=self._device, max_sequence_length=self._row.max_tokens
            )
            return embeddings, pooled

        return self._prompts.get((prompt, job.adapters), encode)

    def _scheduler(self, job: Job) -> tuple[Any, int]:
        """Return a scheduler of the job's own, and the index of its first step."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)
        config, side = scheduler.config, self._patch_side
        shift = calculate_shift(
            (job.height // side) * (job.width // side),
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
        sigmas = np.linspace(1.0, 1 / job.steps, job.steps)
        scheduler.set_timesteps(sigmas=sigmas, mu=shift, device=self._device)
        skipped = 0 if job.source is None else min(int(job.steps - job.steps * job.source.strength), job.steps - 1)
        scheduler.set_begin_index(skipped)
        return scheduler, skipped

    def _start(self, job: Job, scheduler: Any, first: int, dtype: torch.dtype) -> torch.Tensor:
        """Return packed noise, or the source picture as noisy as the first step expects it.

        The generator is the CPU's, so that a seed means the same on every device.
        """
        generator = torch.Generator("cpu").manual_seed(job.seed)
        source = None if job.source is None else self._encode_picture(job, job.source.pixels, dtype, generator)
        channels = self._transformer.config.in_channels // 4
        noise, _ = self._pipeline.prepare_latents(1, channels, job.height, job.width, dtype, self._device, generator)
        packed: torch.Tensor = noise
        if source is not None:
            packed = scheduler.scale_noise(source, scheduler.timesteps[first : first + 1], noise)
        return packed

    def _encode_picture(self, job: Job, pixels: Pixels, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        """Return a picture, fitted to the job's size, as packed latents."""
        vae = self._pipeline.vae
        image = self._pipeline.image_processor.preprocess(Image.fromarray(pixels), height=job.height, width=job.width)
        latents = vae.encode(image.to(self._device, vae.dtype)).latent_dist.sample(generator)
        latents = ((latents - vae.config.shift_factor) * vae.config.scaling_factor).to(dtype)
        packed: torch.Tensor = self._pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _velocities(self, states: Sequence[FluxState]) -> torch.Tensor:
        """Return each state's velocity, guided where the model is guided by a second pass."""
        text = [state.text for state in states]
        negative = [state.negative for state in states if state.negative is not None]
        if not negative:
            return self._forward(states, text)
        away, toward = self._forward([*states, *states], [*negative, *text]).chunk(2)
        scale = torch.tensor([state.job.guidance for state in states], dtype=toward.dtype, device=toward.device)
        return away + scale[:, None, None] * (toward - away)

    def _forward(self, states: Sequence[FluxState], text: Sequence[Embeddings]) -> torch.Tensor:
        latents = torch.cat([state.latents for state in states])
        timesteps = torch.stack([state.timestep for state in states]).to(latents.dtype)
        embeddings = torch.cat([each[0] for each in text])
        velocity: torch.Tensor = self._transformer(
            hidden_states=latents,
            timestep=timesteps / 1000,
            guidance=self._embedded_guidance(states),
            pooled_projections=torch.cat([each[1] for each in text]),
            encoder_hidden_states=embeddings,
            txt_ids=torch.zeros(embeddings.shape[1], 3, device=self._device, dtype=latents.dtype),
            img_ids=self._positions(states[0].job, latents.dtype),
            return_dict=False,
        )[0]
        return velocity

    def _embedded_guidance(self, states: Sequence[FluxState]) -> torch.Tensor | None:
        if not self._transformer.config.guidance_embeds:
            return None
        scales = [state.job.guidance for state in states]
        return torch.tensor(scales, dtype=torch.float32, device=self._device)

    def _positions(self, job: Job, dtype: torch.dtype) -> torch.Tensor:
        """Return the (row, column) of every patch, shape (patches, 3)."""
        side = self._patch_side
        positions: torch.Tensor = self._pipeline._prepare_latent_image_ids(
            1, job.height // side, job.width // side, self._device, dtype
        )
        return positions

    def _advance(self, state: FluxState, velocity: torch.Tensor) -> None:
        if state.job.preview_every:
            state.clean = state.latents - state.scheduler.sigmas[state.first + state.done].to(velocity.dtype) * velocity
        state.latents = state.scheduler.step(velocity, state.timestep, state.latents, return_dict=False)[0]
        state.done += 1

    def _decode(self, job: Job, packed: torch.Tensor, *, fp32: bool) -> torch.Tensor:
        """Return the picture, shape (3, height, width), 0 to 1."""
        vae = self._pipeline.vae
        usual = vae.dtype
        latents = self._pipeline._unpack_latents(packed, job.height, job.width, self._pipeline.vae_scale_factor)
        latents = latents / vae.config.scaling_factor + vae.config.shift_factor
        if fp32:
            vae.to(dtype=torch.float32)
        try:
            image: torch.Tensor = vae.decode(latents.to(vae.dtype), return_dict=False)[0][0]
        finally:
            if fp32:
                vae.to(dtype=usual)
        return (image * 0.5 + 0.5).clamp(0, 1)
