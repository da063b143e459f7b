"""SDXL at 512x512 without a GPU: as imagegen's CPU profile runs it, beside the plain fp32 pipeline of 50 steps.

The tier `fast`, which one has to ask for, is told apart: it forecasts steps and decodes with a tiny autoencoder.

Single steps are timed and multiplied by their number, because a plain picture takes half an hour; text encoding and
decoding are timed whole. Full size, random weights. Needs 20 GB of memory and writes 7 GB beside the temporary files.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench._figures import Figure

_SIDE = 512
_PROMPT = "a red boat on a blue lake"
_PLAIN_STEPS = 50
_GUIDANCE = 8.0
_TIMED = 3
"""Steps that are timed, after a first one that is not."""


@dataclass(frozen=True, slots=True)
class _Costs:
    """Seconds of the parts of one picture."""

    encode: float
    step: float
    """With guidance: a forward pass of two samples."""
    unguided: float
    decode: float

    def picture(self, steps: int, guided: float = 1.0) -> float:
        """Seconds for `steps`, of which guidance takes its second pass in the share `guided`."""
        second_passes = round(guided * steps)
        return self.encode + second_passes * self.step + (steps - second_passes) * self.unguided + self.decode


@dataclass(frozen=True, slots=True)
class _Fast:
    """The tier `fast`: its steps, and seconds of what it does otherwise."""

    steps: int
    guided: float
    computed: Sequence[int]
    """The steps that are not forecast."""
    forecast: float
    """Seconds of one that is."""
    decode: float

    def picture(self, usual: _Costs) -> float:
        """Seconds for a picture; what is done as `usual` takes as long."""
        second_passes = sum(step < round(self.guided * self.steps) for step in self.computed)
        first_passes = len(self.computed) - second_passes
        forecasts = (self.steps - len(self.computed)) * self.forecast
        return usual.encode + second_passes * usual.step + first_passes * usual.unguided + forecasts + self.decode


def run() -> list[Figure]:
    """Write the weights, time the library's pipeline, then imagegen's engine."""
    from bench import _sdxl

    with tempfile.TemporaryDirectory(prefix="sdxl-cpu-") as folder:
        _sdxl.save(Path(folder))
        _sdxl.save_tiny_vae(Path(folder) / _TINY)
        plain = _plain(Path(folder))
        gc.collect()
        ours, fast, row, dtype = _ours(Path(folder))
    return [*_usual_figures(plain, ours, row, dtype), *_fast_figures(plain, ours, fast)]


def _usual_figures(plain: _Costs, ours: _Costs, row: Any, dtype: str) -> list[Figure]:
    steps = round(row.steps.default)
    before, after = plain.picture(_PLAIN_STEPS), ours.picture(steps, row.guided)
    return [
        Figure("plain fp32 pipeline: text encoding", plain.encode, "s", 1),
        Figure("plain fp32 pipeline: one step", plain.step, "s", _TIMED),
        Figure("plain fp32 pipeline: decoding", plain.decode, "s", 1),
        Figure(f"plain fp32 pipeline: a picture of {_PLAIN_STEPS} steps", before, "s", 1),
        Figure("imagegen: text encoding", ours.encode, "s", 1),
        Figure(f"imagegen: one step ({dtype})", ours.step, "s", _TIMED),
        Figure("imagegen: one step after the guidance has ended", ours.unguided, "s", _TIMED),
        Figure("imagegen: decoding", ours.decode, "s", 1),
        Figure(f"imagegen: a picture of {steps} steps, {row.guided:.0%} of them guided", after, "s", 1),
        Figure("times faster, end to end", before / after, "x", 1, ">= 4"),
        Figure("times fewer steps", _PLAIN_STEPS / steps, "x", 1),
        Figure("times faster a step", plain.step / ours.step, "x", _TIMED),
        Figure("times faster for ending the guidance early", ours.picture(steps) / after, "x", 1),
        Figure("times faster decoding", plain.decode / ours.decode, "x", 1),
    ]


def _fast_figures(plain: _Costs, ours: _Costs, fast: _Fast) -> list[Figure]:
    what = f"a picture of {fast.steps} steps, {len(fast.computed)} of them computed"
    after = fast.picture(ours)
    return [
        Figure("imagegen, tier fast: one forecast step", fast.forecast * 1000, "ms", _TIMED),
        Figure("imagegen, tier fast: decoding with the tiny autoencoder", fast.decode, "s", 1),
        Figure(f"imagegen, tier fast: {what}", after, "s", 1),
        Figure("times faster, end to end, tier fast", plain.picture(_PLAIN_STEPS) / after, "x", 1),
        Figure("times faster decoding with the tiny autoencoder", ours.decode / fast.decode, "x", 1),
    ]


def _plain(folder: Path) -> _Costs:
    """Call the pipeline as its documentation does; end its loop once enough steps are timed."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    ends: list[float] = []

    def timed(running: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        ends.append(time.perf_counter())
        running._interrupt = step >= _TIMED  # the steps after it are skipped, and it decodes
        return kept

    began = time.perf_counter()
    texts = dict(zip(_EMBEDDINGS, pipeline.encode_prompt(_PROMPT), strict=True))
    encode = time.perf_counter() - began
    pipeline(
        **texts,
        height=_SIDE,
        width=_SIDE,
        num_inference_steps=_PLAIN_STEPS,
        guidance_scale=_GUIDANCE,
        generator=torch.Generator().manual_seed(1),
        callback_on_step_end=timed,
    )
    decode = time.perf_counter() - ends[_TIMED]
    step = _median_gap(ends)
    return _Costs(encode, step, step, decode)


_TINY = "tiny_vae"
_EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def _ours(folder: Path) -> tuple[_Costs, _Fast, Any, str]:
    """Load and run the row `sdxl` as imagegen does on this machine.

    Returns the costs, those of the tier `fast`, the row and its data type.
    """
    from services.imagegen.domain import Job

    engine, row, dtype = _engine(folder)
    job = Job(_PROMPT, "", _SIDE, _SIDE, steps=round(row.steps.default), guidance=_GUIDANCE, seed=1)
    encode, state = _timed(lambda: engine.prepare(job))
    step = _step_seconds(engine, state)
    unguided = _step_seconds(engine, engine.prepare(replace(job, guided=0.0)))
    decode, _ = _timed(lambda: engine.finish(state))
    return _Costs(encode, step, unguided, decode), _fast(engine, row, job), row, dtype


def _fast(engine: Any, row: Any, job: Any) -> _Fast:
    from services.imagegen.domain import Tier
    from services.imagegen.tiers import at

    row, _ = at(row, Tier.FAST)
    steps = round(row.steps.default)
    state = engine.prepare(replace(job, steps=steps, guided=0.0, cache=row.cache, decoder=row.decoder))
    forecasts: list[float] = []
    while len(forecasts) < _TIMED:
        forecast = state.forecasts
        seconds, _ = _timed(lambda: engine.step([state], lambda _: None))
        if forecast:
            forecasts.append(seconds)
    decode, _ = _timed(lambda: engine.finish(state))
    return _Fast(steps, row.guided, row.cache.computed(steps), median(forecasts), decode)


def _engine(folder: Path) -> tuple[Any, Any, str]:
    import torch

    from bench._imagegen import end
    from servekit.device import plan_device
    from services.imagegen import reading
    from services.imagegen.engines import registry
    from services.imagegen.engines.arranging import Arrangement
    from services.imagegen.engines.folders import Folders
    from services.imagegen.engines.loading import load_pipeline, load_tiny_vae
    from services.imagegen.engines.parts import Parts
    from services.imagegen.profiles import fitted, profile

    plan = plan_device("cpu")
    torch.set_num_threads(plan.threads)
    catalog, _ = fitted(reading.load(families=registry.FAMILIES), plan.kind)
    row = catalog.get("sdxl")
    chosen = profile(row, plan, host_bytes=0, compiled=False)
    arrangement = Arrangement(chosen, plan.device)
    folders = Folders(row.id, row.place, folder, {})
    loading = load_pipeline(
        folders,
        device=arrangement.loaded_to,
        dtype_name=chosen.dtype,
        arrange=arrangement.component,
        on_progress=lambda _: None,
    )
    pipeline = end(loading)
    arrangement.pipelines(pipeline, None)
    tiny_vae = load_tiny_vae(Folders(_TINY, _TINY, folder / _TINY, {}), chosen.dtype)
    arrangement.tiny_vae(tiny_vae)
    parts = Parts(row, pipeline, lambda name: folder / name, 1, tiny_vae=tiny_vae)
    return registry.build(parts), row, chosen.dtype


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that some work takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _step_seconds(engine: Any, state: Any) -> float:
    ends = []
    for _ in range(_TIMED + 1):
        engine.step([state], lambda _: None)
        ends.append(time.perf_counter())
    return _median_gap(ends)


def _median_gap(ends: list[float]) -> float:
    return median(after - before for before, after in pairwise(ends))
