"""SDXL at 512x512 without a GPU: as imagegen's CPU profile runs it, beside the plain fp32 pipeline of 50 steps.

Single steps are timed and multiplied by their number, because a plain picture takes half an hour; text encoding and
decoding are timed whole. Full size, random weights. Needs 20 GB of memory and writes 7 GB beside the temporary files.
"""

import gc
import tempfile
import time
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


def run() -> list[Figure]:
    """Write the weights, time the library's pipeline, then imagegen's engine."""
    from bench import _sdxl

    with tempfile.TemporaryDirectory(prefix="sdxl-cpu-") as folder:
        _sdxl.save(Path(folder))
        plain = _plain(Path(folder))
        gc.collect()
        ours, row, dtype = _ours(Path(folder))
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


_EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def _ours(folder: Path) -> tuple[_Costs, Any, str]:
    """Load and run the row `sdxl` as imagegen does on this machine; returns the costs, the row and its data type."""
    import torch

    from bench._imagegen import end
    from servekit.device import plan_device
    from services.imagegen import reading
    from services.imagegen.domain import Job
    from services.imagegen.engines import registry
    from services.imagegen.engines.arranging import Arrangement
    from services.imagegen.engines.folders import Folders
    from services.imagegen.engines.loading import load_pipeline
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
    engine = registry.build(Parts(row, pipeline, lambda name: folder / name, 1))
    job = Job(_PROMPT, "", _SIDE, _SIDE, steps=round(row.steps.default), guidance=_GUIDANCE, seed=1)
    began = time.perf_counter()
    state = engine.prepare(job)
    encode = time.perf_counter() - began
    step = _step_seconds(engine, state)
    began = time.perf_counter()
    engine.finish(state)
    decode = time.perf_counter() - began
    return (
        _Costs(encode, step, _step_seconds(engine, engine.prepare(replace(job, guided=0.0))), decode),
        row,
        chosen.dtype,
    )


def _step_seconds(engine: Any, state: Any) -> float:
    ends = []
    for _ in range(_TIMED + 1):
        engine.step([state], lambda _: None)
        ends.append(time.perf_counter())
    return _median_gap(ends)


def _median_gap(ends: list[float]) -> float:
    return median(after - before for before, after in pairwise(ends))
