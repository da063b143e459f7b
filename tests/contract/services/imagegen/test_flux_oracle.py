"""diffusers' own pipeline is the oracle of the FLUX engine.

To the bit, but with guidance by a second pass: both halves run in one batch here, one after the other there.
"""

from typing import Any

import numpy as np
import pytest
from diffusers import FluxImg2ImgPipeline, FluxInpaintPipeline
from PIL import Image

from services.imagegen.domain import AdapterChoice, SourceImage
from tests.contract.services.imagegen import oracle, runs, tiny
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

CALL: dict[str, Any] = {"width": 32, "height": 32, "max_sequence_length": 16}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_without_guidance_the_picture_is_the_library_s_to_the_bit(build: Build, load: Load, steps: int) -> None:
    expected = oracle.picture(load(rows.row(rows.FLUX)), **CALL, num_inference_steps=steps)

    pixels = runs.alone(build(), runs.job(steps=steps, guidance=1.0)).pixels

    assert runs.apart(pixels, expected) == 0


@pytest.mark.parametrize(("guidance", "negative"), [(1.5, ""), (4.0, ""), (4.0, "a blue tree"), (9.5, "a house")])
def test_with_true_guidance_the_picture_is_the_library_s(
    build: Build, load: Load, guidance: float, negative: str
) -> None:
    expected = oracle.picture(
        load(rows.row(rows.FLUX)), **CALL, num_inference_steps=4, true_cfg_scale=guidance, negative_prompt=negative
    )

    pixels = runs.alone(build(), runs.job(steps=4, guidance=guidance, negative_prompt=negative)).pixels

    assert runs.apart(pixels, expected) <= oracle.TOLERANCE


def test_embedded_guidance_is_the_library_s_to_the_bit(
    build: Build, load: Load, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tiny.save_flux(tmp_path_factory.mktemp("distilled"), guidance_embeds=True)
    changes = {"source": str(folder), "cfg": "embedded"}
    expected = oracle.picture(load(rows.row(rows.FLUX, **changes)), **CALL, num_inference_steps=3, guidance_scale=5.5)

    pixels = runs.alone(build(rows.FLUX, **changes), runs.job(guidance=5.5)).pixels

    assert runs.apart(pixels, expected) == 0


def test_bfloat16_is_the_library_s_to_the_bit(build: Build, load: Load) -> None:
    expected = oracle.picture(load(rows.row(rows.FLUX, dtype="bfloat16")), **CALL, num_inference_steps=3)

    pixels = runs.alone(build(rows.FLUX, dtype="bfloat16"), runs.job(guidance=1.0)).pixels

    assert runs.apart(pixels, expected) == 0


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 4), (0.6, 5), (0.25, 8)])
def test_a_picture_from_a_picture_is_the_library_s_to_the_bit(
    build: Build, load: Load, strength: float, steps: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pipeline = FluxImg2ImgPipeline.from_pipe(load(rows.row(rows.FLUX)))
    expected = oracle.picture(
        pipeline, **CALL, image=Image.fromarray(pixels), strength=strength, num_inference_steps=steps
    )

    job = runs.job(guidance=1.0, steps=steps, source=SourceImage(pixels, None, strength))

    assert runs.apart(runs.alone(build(), job).pixels, expected) == 0


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpainting_is_the_library_s_to_the_bit(build: Build, load: Load, strength: float) -> None:
    expected = oracle.picture(
        FluxInpaintPipeline.from_pipe(load(rows.row(rows.FLUX))),
        **CALL,
        image=Image.fromarray(oracle.SOURCE),
        mask_image=Image.fromarray(oracle.MASK),
        strength=strength,
        num_inference_steps=5,
    )

    job = runs.job(guidance=1.0, steps=5, source=oracle.source(strength, masked=True))

    assert runs.apart(runs.alone(build(), job).pixels, expected) == 0


def test_the_faintest_change_of_a_picture_takes_one_step(build: Build) -> None:
    source = SourceImage(np.zeros((32, 32, 3), np.uint8), None, 0.01)

    assert build().prepare(runs.job(steps=8, source=source)).total == 1


def test_an_adapter_does_what_it_does_in_the_library(build: Build, load: Load, models_dir: Any) -> None:
    pipeline = load(rows.row(rows.FLUX))
    pipeline.load_lora_weights(models_dir / "tiny_flux_lora", adapter_name="worn")
    pipeline.set_adapters(["worn"], [0.8])
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3)

    job = runs.job(guidance=1.0, adapters=(AdapterChoice("tiny_flux_lora", 0.8),))

    assert runs.apart(runs.alone(build(), job).pixels, expected) == 0
