"""Any other diffusers pipeline, run whole: one request at a time, progress and cancel at every step."""

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, TaylorSeerCacheConfig
from diffusers.models.cache_utils import CacheMixin

from servekit.device import weight_bytes
from servekit.errors import ModelUnavailable
from services.imagegen.domain import Decoded, Job, Pixels
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.pictures import all_finite, modules_of, to_pixels
from services.imagegen.engines.schedulers import Schedulers
from services.imagegen.engines.tokens import token_counter
from services.imagegen.engines.watching import Watch
from services.imagegen.ports import Pulse


@dataclass(eq=False, slots=True)
class GenericState:
    """One picture in the making."""

    job: Job
    total: int
    prompt_tokens: int
    done: int = 0
    forecasts: bool = False
    """Never: the pipeline sees to its forecasts itself."""
    latents: torch.Tensor | None = None
    image: torch.Tensor | None = None
    """The decoded picture, shape (3, height, width), 0 to 1."""

    @property
    def rows(self) -> int:
        """One: nothing else is in a pass with it."""
        return 1

    @property
    def batch_key(self) -> Hashable:
        """Unique: a whole pipeline is never shared."""
        return id(self)


def build(parts: Parts) -> "GenericEngine":
    """Return the engine of any diffusers pipeline.

    Raises `ModelUnavailable` if a tier of the row wants a step cache and the library has none for this pipeline.
    """
    if parts.row.caches and not _takes_cache(parts.pipeline):
        kind = type(parts.pipeline).__name__
        raise ModelUnavailable(f"{parts.row.id}: diffusers has no step cache for {kind}; leave cache out of the row")
    return GenericEngine(parts)


def _takes_cache(pipeline: Any) -> bool:
    """Tell whether the network can be told to forecast, and is told by the pipeline which half of guidance it is at."""
    call = inspect.unwrap(type(pipeline).__call__)
    return isinstance(getattr(pipeline, "transformer", None), CacheMixin) and "cache_context" in call.__code__.co_names


class GenericEngine:
    """Runs a pipeline's own `__call__`. See `ports.Engine`."""

    max_batch = 1

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._row = parts.row
        self._pipeline = parts.pipeline
        self._schedulers = Schedulers(parts.pipeline.scheduler)
        self._count_tokens = token_counter(parts.pipeline)
        self._watch = Watch(parts)
        self._accepted = inspect.signature(type(parts.pipeline).__call__).parameters

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """The torch modules that hold the weights."""
        return modules_of(self._parts)

    @property
    def resident_bytes(self) -> int:
        """Bytes that the weights take."""
        return weight_bytes(self.modules)

    def prepare(self, job: Job) -> GenericState:
        """Note the job; the pipeline itself encodes and draws."""
        return GenericState(job=job, total=job.taken, prompt_tokens=self._count_tokens(job.prompt))

    def prepare_all(self, jobs: Sequence[Job]) -> list[GenericState]:
        """Note the jobs."""
        return [self.prepare(job) for job in jobs]

    def step(self, states: Sequence[GenericState], pulse: Pulse) -> None:
        """Run every state to its end, calling `pulse` after each denoising step."""
        for state in states:
            self._run(state, pulse)

    def finish(self, state: GenericState, *, fp32: bool = False) -> Decoded:
        """Return the picture; `fp32` decodes the last latents once more."""
        if state.image is None:
            raise RuntimeError("finish before the last step")
        image = self._decode_fp32(state) if fp32 else state.image
        latents_finite = state.latents is None or all_finite(state.latents)
        return Decoded(
            pixels=to_pixels(image),
            finite=latents_finite and all_finite(image),
            can_decode_fp32=latents_finite and not fp32 and self._has_16_bit_vae() and state.latents is not None,
        )

    def finish_all(self, states: Sequence[GenericState]) -> list[Decoded]:
        """Return the pictures."""
        return [self.finish(state) for state in states]

    def preview(self, state: GenericState) -> Pixels | None:
        """Return nothing: what the latents mean is the pipeline's own business."""
        return None

    def watching(self, look: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `look` before each block of the model, inside the block."""
        return self._watch.calling(look)

    def _run(self, state: GenericState, pulse: Pulse) -> None:
        def on_step_end(_pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            state.done = min(step + 1, state.total)
            state.latents = values["latents"]
            pulse(state)
            return {}

        job = state.job
        wanted = {
            "prompt": job.prompt,
            "negative_prompt": job.negative_prompt if self._row.can("negative_prompt") else None,
            "width": job.width,
            "height": job.height,
            "num_inference_steps": job.steps,
            **self._guidance(job),
            "max_sequence_length": self._row.max_tokens,
            "generator": torch.Generator("cpu").manual_seed(job.seed),
            "output_type": "pt",
            "callback_on_step_end": on_step_end,
            "callback_on_step_end_tensor_inputs": ["latents"],
        }
        self._pipeline.scheduler = self._schedulers.fresh(job.scheduler)
        with torch.inference_mode(), self._forecasting(job):
            result = self._pipeline(**{key: value for key, value in wanted.items() if key in self._accepted})
        state.image = result.images[0]
        state.done = state.total

    @contextmanager
    def _forecasting(self, job: Job) -> Iterator[None]:
        """Have the network forecast as the job says, for one picture: the library keeps the series with the network."""
        cache = job.cache
        if cache is None:
            yield
            return
        network = self._pipeline.transformer
        network.enable_cache(
            TaylorSeerCacheConfig(
                cache_interval=cache.interval,
                disable_cache_before_step=cache.first,
                disable_cache_after_step=job.steps - cache.last,
                max_order=cache.order,
                taylor_factors_dtype=network.dtype,
                use_lite_mode=True,
            )
        )
        try:
            yield
        finally:
            network.disable_cache()

    def _guidance(self, job: Job) -> dict[str, Any]:
        """Return the guidance by the pipeline's name for it: some tell a second pass from a distilled one."""
        if self._row.cfg == "true" and "true_cfg_scale" in self._accepted:
            return {"true_cfg_scale": job.guidance}
        return {"guidance_scale": job.guidance}

    def _has_16_bit_vae(self) -> bool:
        vae = getattr(self._pipeline, "vae", None)
        return isinstance(vae, AutoencoderKL) and self._pipeline.vae.dtype != torch.float32

    def _decode_fp32(self, state: GenericState) -> torch.Tensor:
        if state.latents is None:
            raise RuntimeError("no latents to decode")
        vae = self._pipeline.vae
        usual = vae.dtype
        latents = state.latents.float() / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        try:  # it may be out of memory half-way
            vae.to(dtype=torch.float32)
            with torch.inference_mode():
                image: torch.Tensor = vae.decode(latents, return_dict=False)[0][0]
        finally:
            vae.to(dtype=usual)
        return (image * 0.5 + 0.5).clamp(0, 1)
