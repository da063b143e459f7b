"""Guidance that ends before the last step, held to diffusers' own way: its callback drops the second pass."""

from typing import Any

import pytest
import torch

from services.imagegen.engines.schedulers import fresh
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
STEPWISE = pytest.mark.parametrize("base", [rows.FLUX, rows.SDXL, rows.SD3, rows.HIDREAM], ids=lambda base: base["id"])
CONDITIONS = {
    "sdxl": ["prompt_embeds", "add_text_embeds", "add_time_ids"],
    "sd3": ["prompt_embeds", "pooled_prompt_embeds"],
}
"""What a library's pipeline keeps for both passes, the negative half first."""


@pytest.mark.parametrize("base", [rows.SDXL, rows.SD3], ids=lambda base: base["id"])
@pytest.mark.parametrize(("share", "guided"), [(0.6, 3), (0.2, 1), (0.9, 4)])
def test_the_picture_is_the_library_s(
    build: Build, load: Load, base: dict[str, Any], share: float, guided: int
) -> None:
    pipeline, kept = load(rows.row(base)), CONDITIONS[base["family"]]
    pipeline.scheduler = fresh(pipeline.scheduler, base["schedulers"][0])

    def end_guidance(pipeline: Any, step: int, _timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, Any]:
        if step + 1 != guided:
            return values
        pipeline._guidance_scale = 0.0
        return {name: values[name].chunk(2)[-1] for name in kept}

    call: dict[str, Any] = {"callback_on_step_end": end_guidance, "callback_on_step_end_tensor_inputs": kept}
    if base is rows.SD3:
        call["max_sequence_length"] = 16
    expected = oracle.picture(pipeline, width=32, height=32, num_inference_steps=5, guidance_scale=4.0, **call)

    assert runs.apart(runs.alone(build(base), runs.job(steps=5, guided=share)).pixels, expected) == 0


@STEPWISE
def test_each_step_passes_the_network_as_often_as_it_is_guided(fresh: Build, base: dict[str, Any]) -> None:
    engine, widths = fresh(base), list[int]()
    core = next(each for each in engine.modules if "2D" in type(each).__name__)
    core.register_forward_hook(lambda _module, _inputs, output: widths.append(len(output[0])))

    runs.alone(engine, runs.job(steps=5, guided=0.6))

    assert widths == [2, 2, 2, 1, 1]


@STEPWISE
def test_pictures_on_both_sides_of_the_cut_share_each_pass_and_come_out_as_alone(
    fresh: Build, base: dict[str, Any]
) -> None:
    engine, passes = fresh(base), list[int]()
    core = next(each for each in engine.modules if "2D" in type(each).__name__)
    jobs = [
        runs.job(steps=4, guided=0.25),
        runs.job(steps=4, seed=8),
        runs.job(steps=4, seed=9, guidance=1.0),
        runs.job(steps=4, seed=10, guided=0.5),
    ]
    expected = [runs.alone(engine, job).pixels for job in jobs]
    states = [engine.prepare(job) for job in jobs]
    core.register_forward_hook(lambda _module, _inputs, output: passes.append(len(output[0])))
    rows = []
    while states[0].done < states[0].total:
        assert len({each.batch_key for each in states}) == 1
        rows.append(sum(each.rows for each in states))
        engine.step(states, runs.ignore)

    assert passes == rows == [7, 6, 5, 5]
    made = [each.pixels for each in engine.finish_all(states)]
    assert max(map(runs.apart, made, expected)) <= 2
