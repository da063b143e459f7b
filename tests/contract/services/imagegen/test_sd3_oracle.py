"""diffusers' own pipelines are the oracle of the Stable Diffusion 3 engine, to the bit."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline
from PIL import Image

from services.imagegen.domain import AdapterChoice
from services.imagegen.engines.schedulers import FLOW, fresh
from tests.contract.services.imagegen import oracle, runs, tiny
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
CALL: dict[str, Any] = {"width": 32, "height": 32, "max_sequence_length": 16}


@pytest.fixture(scope="module")
def pipeline(load: Load) -> Any:
    return load(rows.row(rows.SD3))


def scheduled(pipeline: Any, scheduler: str, kind: Any = None) -> Any:
    """Return a pipeline, as another class if one is given, with a fresh scheduler."""
    return (kind or type(pipeline))(**{**pipeline.components, "scheduler": fresh(pipeline.scheduler, scheduler)})


@pytest.mark.parametrize(("scheduler", "steps"), [("", 1), *((each, 5) for each in ("", *FLOW))])
def test_the_picture_is_the_library_s_with_every_scheduler(
    build: Build, pipeline: Any, scheduler: str, steps: int
) -> None:
    call: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": 5.5, "negative_prompt": "a blue tree"}
    expected = oracle.picture(scheduled(pipeline, scheduler), **CALL, **call)

    job = runs.job(steps=steps, guidance=5.5, negative_prompt="a blue tree", scheduler=scheduler)

    assert runs.apart(runs.alone(build(rows.SD3), job).pixels, expected) == 0


@pytest.mark.parametrize("guidance", [0.0, 1.0, 1.1, 7.3])
def test_guidance_is_the_library_s(build: Build, pipeline: Any, guidance: float) -> None:
    expected = oracle.picture(scheduled(pipeline, ""), **CALL, num_inference_steps=3, guidance_scale=guidance)

    assert runs.apart(runs.alone(build(rows.SD3), runs.job(guidance=guidance)).pixels, expected) == 0


@pytest.mark.parametrize("changes", [{"t5": False}, {"dynamic": True}], ids=["without T5", "shifted by size"])
def test_other_weights_give_the_library_s_picture(
    build: Build, load: Load, tmp_path_factory: pytest.TempPathFactory, changes: dict[str, bool]
) -> None:
    folder = str(tiny.save_sd3(tmp_path_factory.mktemp("other"), **changes))
    expected = oracle.picture(
        load(rows.row(rows.SD3, source=folder)), **CALL, num_inference_steps=3, guidance_scale=4.0
    )

    assert runs.apart(runs.alone(build(rows.SD3, source=folder), runs.job()).pixels, expected) == 0


def test_the_t5_encoder_can_be_left_out(build: Build, load: Load) -> None:
    changes = {"without": ["text_encoder_3", "tokenizer_3"]}
    pipeline = load(rows.row(rows.SD3, **changes))
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3, guidance_scale=4.0)

    assert pipeline.text_encoder_3 is None
    assert runs.apart(runs.alone(build(rows.SD3, **changes), runs.job()).pixels, expected) == 0


def test_bfloat16_is_the_library_s(build: Build, load: Load) -> None:
    pipeline = load(rows.row(rows.SD3, dtype="bfloat16"))
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3, guidance_scale=7.3)

    assert runs.apart(runs.alone(build(rows.SD3, dtype="bfloat16"), runs.job(guidance=7.3)).pixels, expected) == 0


@pytest.mark.parametrize(("scheduler", "strength"), [("", 1.0), ("", 0.3), ("flow_heun", 0.3)])
def test_a_picture_from_a_picture_is_the_library_s(
    build: Build, pipeline: Any, scheduler: str, strength: float
) -> None:
    expected = oracle.picture(
        scheduled(pipeline, scheduler, StableDiffusion3Img2ImgPipeline),
        **CALL,
        image=Image.fromarray(oracle.SOURCE),
        strength=strength,
        num_inference_steps=7,
        guidance_scale=4.0,
    )

    job = runs.job(steps=7, scheduler=scheduler, source=oracle.source(strength))

    assert runs.apart(runs.alone(build(rows.SD3), job).pixels, expected) == 0


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpainted_latents_are_the_library_s(build: Build, pipeline: Any, strength: float) -> None:
    """Latents, because the library forgets the shift when it decodes an inpainted picture."""
    call: dict[str, Any] = {
        "image": Image.fromarray(oracle.SOURCE),
        "mask_image": Image.fromarray(oracle.MASK),
        "strength": strength,
    }
    expected = oracle.called(
        scheduled(pipeline, "", StableDiffusion3InpaintPipeline),
        torch.Generator("cpu").manual_seed(7),
        **CALL,
        **call,
        num_inference_steps=5,
        guidance_scale=4.0,
        output_type="latent",
    )
    engine = build(rows.SD3)
    state: Any = engine.prepare(runs.job(steps=5, source=oracle.source(strength, masked=True)))
    while state.done < state.total:
        engine.step([state], runs.ignore)

    assert np.array_equal(state.latents.numpy(), expected.numpy())


def test_an_adapter_does_what_it_does_in_the_library(build: Build, load: Load, models_dir: Any) -> None:
    pipeline = load(rows.row(rows.SD3))
    pipeline.load_lora_weights(models_dir / "tiny_sd3_lora", adapter_name="worn")
    pipeline.set_adapters(["worn"], [0.8])
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3, guidance_scale=4.0)

    job = runs.job(adapters=(AdapterChoice("tiny_sd3_lora", 0.8),))

    assert runs.apart(runs.alone(build(rows.SD3), job).pixels, expected) == 0
