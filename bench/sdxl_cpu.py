"""SDXL at 512x512 without a GPU: as imagegen's CPU profile runs it, beside the plain fp32 pipeline of 50 steps.

The tier `fast`, which one has to ask for, is told apart: it forecasts more steps, and decodes with a tiny autoencoder.

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
class _Course:
    """Which steps of a picture run the network, and how."""

    steps: int
    guided: float
    """Share of the steps, the first ones, with a second pass."""
    computed: Sequence[int]
    """The steps that are not forecast."""

    @classmethod
    def of(cls, row: Any) -> "_Course":
        """Return the course of a picture by a row's defaults."""
        steps = round(row.steps.default)
        return cls(steps, row.guided, range(steps) if row.cache is None else row.cache.computed(steps))

    def told(self) -> str:
        """Return the course in words."""
        return f"a picture of {self.steps} steps, {len(self.computed)} of them computed, {self.guided:.0%} guided"


@dataclass(frozen=True, slots=True)
class _Costs:
    """Seconds of the parts of one picture."""

    encode: float
    step: float
    """With guidance: a forward pass of two samples."""
    unguided: float
    decode: float
    forecast: float = 0.0
    """A step without a forward pass."""

    def picture(self, course: _Course) -> float:
        """Seconds for a picture."""
        second_passes = sum(step < round(course.guided * course.steps) for step in course.computed)
        first_passes = len(course.computed) - second_passes
        forecasts = (course.steps - len(course.computed)) * self.forecast
        return self.encode + second_passes * self.step + first_passes * self.unguided + forecasts + self.decode


def run() -> list[Figure]:
    """Write the weights, time the library's pipeline, then imagegen's engine."""
    from bench import _sdxl

    with tempfile.TemporaryDirectory(prefix="sdxl-cpu-") as folder:
        _sdxl.save(Path(folder))
        _sdxl.save_tiny_vae(Path(folder) / _TINY)
        plain = _plain(Path(folder)), _Course(_PLAIN_STEPS, 1.0, range(_PLAIN_STEPS))
        gc.collect()
        ours, row, fast, fast_row, dtype = _ours(Path(folder))
    before = plain[0].picture(plain[1])
    return [
        *_plain_figures(plain[0], before),
        *_usual_figures(plain[0], before, ours, _Course.of(row), dtype),
        *_fast_figures(before, ours, fast, _Course.of(fast_row)),
    ]


def _plain_figures(plain: _Costs, before: float) -> list[Figure]:
    return [
        Figure("plain fp32 pipeline: text encoding", plain.encode, "s", 1),
        Figure("plain fp32 pipeline: one step", plain.step, "s", _TIMED),
        Figure("plain fp32 pipeline: decoding", plain.decode, "s", 1),
        Figure(f"plain fp32 pipeline: a picture of {_PLAIN_STEPS} steps", before, "s", 1),
    ]


def _usual_figures(plain: _Costs, before: float, ours: _Costs, course: _Course, dtype: str) -> list[Figure]:
    after, every = ours.picture(course), replace(course, computed=range(course.steps))
    return [
        Figure("imagegen: text encoding", ours.encode, "s", 1),
        Figure(f"imagegen: one step ({dtype})", ours.step, "s", _TIMED),
        Figure("imagegen: one step after the guidance has ended", ours.unguided, "s", _TIMED),
        Figure("imagegen: decoding", ours.decode, "s", 1),
        Figure(f"imagegen: {course.told()}", after, "s", 1),
        Figure("times faster, end to end", before / after, "x", 1, ">= 4"),
        Figure("times fewer steps", _PLAIN_STEPS / course.steps, "x", 1),
        Figure("times faster a step", plain.step / ours.step, "x", _TIMED),
        Figure(
            "times faster for ending the guidance early",
            ours.picture(replace(every, guided=1.0)) / ours.picture(every),
            "x",
            1,
        ),
        Figure("times faster for forecasting late steps", ours.picture(every) / after, "x", 1),
        Figure("times faster decoding", plain.decode / ours.decode, "x", 1),
    ]


def _fast_figures(before: float, ours: _Costs, fast: _Costs, course: _Course) -> list[Figure]:
    after = fast.picture(course)
    return [
        Figure("imagegen, tier fast: one forecast step", fast.forecast * 1000, "ms", _TIMED),
        Figure("imagegen, tier fast: decoding with the tiny autoencoder", fast.decode, "s", 1),
        Figure(f"imagegen, tier fast: {course.told()}", after, "s", 1),
        Figure("times faster, end to end, tier fast", before / after, "x", 1),
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


def _ours(folder: Path) -> tuple[_Costs, Any, _Costs, Any, str]:
    """Load and run the row `sdxl` as imagegen does on this machine.

    Returns the costs and the row, the same of the tier `fast`, and the data type.
    """
    from services.imagegen.domain import Job, Tier
    from services.imagegen.tiers import at

    engine, row, dtype = _engine(folder)
    job = Job(_PROMPT, "", _SIDE, _SIDE, steps=round(row.steps.default), guidance=_GUIDANCE, seed=1)
    encode, state = _timed(lambda: engine.prepare(job))
    step = _step_seconds(engine, state)
    unguided = _step_seconds(engine, engine.prepare(replace(job, guided=0.0)))
    decode, _ = _timed(lambda: engine.finish(state))
    fast_row, _ = at(row, Tier.FAST)
    forecast, tiny_decode = _fast(engine, fast_row, job)
    ours = _Costs(encode, step, unguided, decode, forecast)
    return ours, row, replace(ours, decode=tiny_decode), fast_row, dtype


def _fast(engine: Any, row: Any, job: Any) -> tuple[float, float]:
    """Return the seconds of a forecast step and of decoding, as a row has it."""
    steps = round(row.steps.default)
    state = engine.prepare(replace(job, steps=steps, guided=0.0, cache=row.cache, decoder=row.decoder))
    forecasts: list[float] = []
    while len(forecasts) < _TIMED:
        forecast = state.forecasts
        seconds, _ = _timed(lambda: engine.step([state], lambda _: None))
        if forecast:
            forecasts.append(seconds)
    decode, _ = _timed(lambda: engine.finish(state))
    return median(forecasts), decode


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
