"""A whole pipeline, run as the library has it."""

from typing import Any

import pytest

from servekit.errors import Cancelled
from services.imagegen.engines.schedulers import DIFFUSION
from services.imagegen.ports import State
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers


WHOLE = [rows.GENERIC, rows.Z_IMAGE, rows.QWEN_IMAGE, rows.FLUX2_KLEIN]
FAMILIES = pytest.mark.parametrize("base", WHOLE, ids=lambda base: base["id"])


@FAMILIES
@pytest.mark.parametrize("last", [1, 2, 3])
def test_it_stops_at_the_step_that_is_refused(build: Build, base: dict[str, Any], last: int) -> None:
    engine = build(base)
    state = engine.prepare(runs.job())

    def refuse(each: State) -> None:
        if each.done == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.step([state], refuse)
    assert state.done == last


@pytest.mark.parametrize("scheduler", DIFFUSION)
def test_each_scheduler_offered_works(build: Build, scheduler: str) -> None:
    assert runs.alone(build(rows.GENERIC), runs.job(scheduler=scheduler)).finite


def test_the_picture_is_the_library_s(build: Build, load: Load) -> None:
    call: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "guidance_scale": 4.0}
    expected = oracle.picture(load(rows.row(rows.GENERIC)), **call, negative_prompt="a blue tree")

    pixels = runs.alone(build(rows.GENERIC), runs.job(negative_prompt="a blue tree")).pixels

    assert runs.apart(pixels, expected) == 0


@pytest.mark.parametrize(
    ("base", "guidance"), [(rows.Z_IMAGE, 0.0), (rows.FLUX2_KLEIN, 1.0)], ids=["tiny_z_image", "tiny_flux2_klein"]
)
def test_models_with_distilled_guidance_are_the_library_s(
    build: Build, load: Load, base: dict[str, Any], guidance: float
) -> None:
    call: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "guidance_scale": guidance}
    expected = oracle.picture(load(rows.row(base)), **call, max_sequence_length=32)

    assert runs.apart(runs.alone(build(base), runs.job(guidance=guidance)).pixels, expected) == 0


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_qwen_image_s_guidance_is_by_a_second_pass(build: Build, load: Load, guidance: float) -> None:
    call: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "max_sequence_length": 32}
    expected = oracle.picture(
        load(rows.row(rows.QWEN_IMAGE)), **call, true_cfg_scale=guidance, negative_prompt="a blue tree"
    )

    job = runs.job(guidance=guidance, negative_prompt="a blue tree")

    assert runs.apart(runs.alone(build(rows.QWEN_IMAGE), job).pixels, expected) == 0


@FAMILIES
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(build: Build, base: dict[str, Any]) -> None:
    engine, again = build(base), runs.job()

    assert runs.apart(runs.alone(engine, again).pixels, runs.alone(engine, again).pixels) == 0
    assert runs.apart(runs.alone(engine, again).pixels, runs.alone(engine, runs.job(seed=8)).pixels) > 0
