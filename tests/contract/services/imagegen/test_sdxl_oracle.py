"""diffusers' own pipelines are the oracle of the SDXL engine, to the bit."""

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

from services.imagegen.domain import AdapterChoice
from services.imagegen.engines.schedulers import DIFFUSION, fresh
from tests.contract.services.imagegen import oracle, runs, tiny
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
CALL: dict[str, Any] = {"width": 32, "height": 32}
EACH = ("", *DIFFUSION)
"""Every scheduler that can be offered; none means the one saved with the weights."""


@pytest.fixture(scope="module")
def pipeline(load: Load) -> Any:
    return load(rows.row(rows.SDXL))


@pytest.fixture(scope="module")
def refining(load: Load, pipeline: Any) -> Any:
    return load(rows.row(rows.REFINED), pipeline)


def scheduled(pipeline: Any, scheduler: str, kind: Any = None) -> Any:
    """Return a pipeline, as another class if one is given, with a fresh scheduler."""
    components = {**pipeline.components, "scheduler": fresh(pipeline.scheduler, scheduler)}
    return (kind or type(pipeline))(**components, add_watermarker=False)


@pytest.mark.parametrize(("scheduler", "steps"), [("", 1), *((each, 5) for each in EACH)])
def test_the_picture_is_the_library_s_with_every_scheduler(
    build: Build, pipeline: Any, scheduler: str, steps: int
) -> None:
    expected = oracle.picture(
        scheduled(pipeline, scheduler),
        **CALL,
        num_inference_steps=steps,
        guidance_scale=5.5,
        negative_prompt="a blue tree",
    )

    job = runs.job(steps=steps, guidance=5.5, negative_prompt="a blue tree", scheduler=scheduler)

    assert runs.apart(runs.alone(build(rows.SDXL), job).pixels, expected) == 0


@pytest.mark.parametrize("guidance", [0.0, 1.0, 1.1, 7.3])
def test_guidance_without_a_negative_prompt_is_the_library_s(build: Build, pipeline: Any, guidance: float) -> None:
    expected = oracle.picture(scheduled(pipeline, ""), **CALL, num_inference_steps=3, guidance_scale=guidance)

    assert runs.apart(runs.alone(build(rows.SDXL), runs.job(guidance=guidance)).pixels, expected) == 0


def test_a_picture_that_is_no_square_is_the_library_s(build: Build, pipeline: Any) -> None:
    expected = oracle.picture(scheduled(pipeline, ""), width=48, height=16, num_inference_steps=3, guidance_scale=4.0)

    assert runs.apart(runs.alone(build(rows.SDXL), runs.job(width=48, height=16)).pixels, expected) == 0


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")  # the library calls it itself
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_library_s(build: Build, load: Load, dtype: str) -> None:
    pipeline = load(rows.row(rows.SDXL, dtype=dtype))
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3, guidance_scale=7.3)

    pixels = runs.alone(build(rows.SDXL, dtype=dtype), runs.job(guidance=7.3)).pixels

    assert runs.apart(pixels, expected) == 0


def test_embedded_guidance_is_the_library_s(build: Build, load: Load, tmp_path_factory: pytest.TempPathFactory) -> None:
    changes = {"source": str(tiny.save_sdxl(tmp_path_factory.mktemp("distilled"), guidance_size=8))}
    expected = oracle.picture(load(rows.row(rows.SDXL, **changes)), **CALL, num_inference_steps=3, guidance_scale=5.5)

    assert runs.apart(runs.alone(build(rows.SDXL, **changes), runs.job(guidance=5.5)).pixels, expected) == 0


@pytest.mark.parametrize(("scheduler", "steps", "guidance"), [("", 7, 1.0), *((each, 10, 4.0) for each in EACH)])
def test_the_refiner_takes_over_as_in_the_library(
    build: Build, refining: Any, pipeline: Any, scheduler: str, steps: int, guidance: float
) -> None:
    generator = torch.Generator("cpu").manual_seed(7)
    call: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance, "negative_prompt": "a blue tree"}
    base = scheduled(pipeline, scheduler)
    refiner = scheduled(refining, scheduler)
    refiner.register_to_config(requires_aesthetics_score=True, force_zeros_for_empty_prompt=False)
    latents = oracle.called(base, generator, **CALL, **call, output_type="latent", denoising_end=0.8)
    expected = oracle.picture(refiner, generator=generator, image=latents, denoising_start=0.8, **call)

    job = runs.job(steps=steps, guidance=guidance, negative_prompt="a blue tree", scheduler=scheduler, refine=True)

    assert runs.apart(runs.alone(build(rows.REFINED), job).pixels, expected) == 0


def test_without_leave_the_refiner_does_nothing(build: Build) -> None:
    base, refined = build(rows.SDXL), build(rows.REFINED)
    expected = runs.alone(base, runs.job(steps=8)).pixels

    assert runs.apart(runs.alone(refined, runs.job(steps=8)).pixels, expected) == 0
    assert runs.apart(runs.alone(refined, runs.job(steps=8, refine=True)).pixels, expected) > 0


def test_a_refiner_shares_what_it_can_with_its_base(build: Build, models_dir: Any) -> None:
    unet = (models_dir / "tiny_refiner" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size

    more = build(rows.REFINED).resident_bytes - build(rows.SDXL).resident_bytes

    assert more == pytest.approx(unet, rel=0.1)


@pytest.mark.parametrize(("scheduler", "strength"), [("", 1.0), *((each, 0.3) for each in EACH)])
def test_a_picture_from_a_picture_is_the_library_s(
    build: Build, pipeline: Any, scheduler: str, strength: float
) -> None:
    expected = oracle.picture(
        scheduled(pipeline, scheduler, StableDiffusionXLImg2ImgPipeline),
        image=Image.fromarray(oracle.SOURCE),
        strength=strength,
        num_inference_steps=7,
        guidance_scale=4.0,
    )

    job = runs.job(steps=7, scheduler=scheduler, source=oracle.source(strength))

    assert runs.apart(runs.alone(build(rows.SDXL), job).pixels, expected) == 0


@pytest.mark.parametrize(("scheduler", "strength"), [("", 0.6), *((each, 1.0) for each in EACH)])
def test_inpainting_is_the_library_s(build: Build, pipeline: Any, scheduler: str, strength: float) -> None:
    expected = oracle.picture(
        scheduled(pipeline, scheduler, StableDiffusionXLInpaintPipeline),
        **CALL,
        image=Image.fromarray(oracle.SOURCE),
        mask_image=Image.fromarray(oracle.MASK),
        strength=strength,
        num_inference_steps=5,
        guidance_scale=4.0,
    )

    job = runs.job(steps=5, scheduler=scheduler, source=oracle.source(strength, masked=True))

    assert runs.apart(runs.alone(build(rows.SDXL), job).pixels, expected) == 0


def test_an_adapter_does_what_it_does_in_the_library(build: Build, load: Load, models_dir: Any) -> None:
    pipeline = load(rows.row(rows.SDXL))
    pipeline.load_lora_weights(models_dir / "tiny_sdxl_lora", adapter_name="worn")
    pipeline.set_adapters(["worn"], [0.8])
    expected = oracle.picture(pipeline, **CALL, num_inference_steps=3, guidance_scale=4.0)

    job = runs.job(adapters=(AdapterChoice("tiny_sdxl_lora", 0.8),))

    assert runs.apart(runs.alone(build(rows.SDXL), job).pixels, expected) == 0


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(["lake " * 18, "lake " * 18, "tree " * 2], id="words"),  # of 4 tokens each; a window has 75
        pytest.param(["lake," * 15, "lake," * 15, "tree," * 2], id="punctuation"),  # the comma is the fifth
        pytest.param(["l" * 75, "l" * 75, "t" * 8], id="characters"),
    ],
)
def test_a_long_prompt_is_read_in_windows_cut_where_it_does_the_least_harm(
    build: Build, pipeline: Any, parts: list[str]
) -> None:
    windows = [scheduled(pipeline, "").encode_prompt(part, do_classifier_free_guidance=False) for part in parts]
    tokens, pooled = torch.cat([each[0] for each in windows], dim=1), windows[0][2]
    expected = oracle.picture(
        scheduled(pipeline, ""),
        **CALL,
        prompt=None,
        prompt_embeds=tokens,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=torch.zeros_like(tokens),
        negative_pooled_prompt_embeds=torch.zeros_like(pooled),
        num_inference_steps=3,
        guidance_scale=4.0,
    )

    pixels = runs.alone(build(rows.SDXL, max_tokens=400), runs.job(prompt="".join(parts))).pixels

    assert runs.apart(pixels, expected) == 0


@pytest.mark.parametrize(
    ("read", "rest"),
    [("lake " * 24 + "tr", "ee"), ("lake," * 19 + "tre", "e," * 50), ("l" * 98, "t" * 300)],
    ids=["words", "punctuation", "characters"],
)
def test_a_prompt_is_read_up_to_what_the_row_allows(build: Build, read: str, rest: str) -> None:
    engine = build(rows.SDXL, max_tokens=100)  # of which 2 are the marks of start and end
    whole, begun, shorter = (
        runs.alone(engine, runs.job(prompt=each)).pixels for each in (read + rest, read, read[:-1])
    )

    assert runs.apart(whole, begun) == 0
    assert runs.apart(begun, shorter) > 0
