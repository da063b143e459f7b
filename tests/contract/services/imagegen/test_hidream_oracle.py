"""diffusers' own pipeline is the oracle of the HiDream engine, to the bit.

It brings every picture to the area of `default_sample_size`, a megapixel; ours has the size asked for. The oracle is
told the area of the tests' pictures.
"""

from typing import Any

import pytest

from services.imagegen.engines.schedulers import fresh
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
CALL: dict[str, Any] = {"max_sequence_length": 16, "num_inference_steps": 4}
AREA_SIDE = 16
"""Side of the tests' pictures in latents."""


@pytest.fixture(scope="module")
def pipeline(load: Load) -> Any:
    return load(rows.row(rows.HIDREAM))


def scheduled(pipeline: Any, scheduler: str) -> Any:
    """Return a pipeline with a fresh scheduler, for pictures of the area of the tests'."""
    copy = type(pipeline)(**{**pipeline.components, "scheduler": fresh(pipeline.scheduler, scheduler)})
    copy.default_sample_size = AREA_SIDE
    return copy


@pytest.mark.parametrize("scheduler", ["", *rows.HIDREAM["schedulers"]])
@pytest.mark.parametrize(("guidance", "negative"), [(0.0, ""), (5.0, ""), (7.3, "a blue tree")])
def test_the_picture_is_the_library_s_with_every_scheduler(
    build: Build, pipeline: Any, scheduler: str, guidance: float, negative: str
) -> None:
    call: dict[str, Any] = {"width": 32, "height": 32, "guidance_scale": guidance, "negative_prompt": negative}
    expected = oracle.picture(scheduled(pipeline, scheduler), **CALL, **call)

    job = runs.job(steps=4, guidance=guidance, negative_prompt=negative, scheduler=scheduler)

    assert runs.apart(runs.alone(build(rows.HIDREAM), job).pixels, expected) == 0


def test_a_picture_that_is_no_square_is_the_library_s(build: Build, pipeline: Any) -> None:
    expected = oracle.picture(scheduled(pipeline, ""), **CALL, width=64, height=16, guidance_scale=4.0)

    assert runs.apart(runs.alone(build(rows.HIDREAM), runs.job(steps=4, width=64, height=16)).pixels, expected) == 0


def test_bfloat16_is_the_library_s(build: Build, load: Load) -> None:
    pipeline = load(rows.row(rows.HIDREAM, dtype="bfloat16"))
    expected = oracle.picture(scheduled(pipeline, ""), **CALL, width=32, height=32, guidance_scale=7.3)

    pixels = runs.alone(build(rows.HIDREAM, dtype="bfloat16"), runs.job(steps=4, guidance=7.3)).pixels

    assert runs.apart(pixels, expected) == 0
