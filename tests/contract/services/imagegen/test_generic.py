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


@pytest.mark.parametrize("last", [1, 2, 3])
def test_it_stops_at_the_step_that_is_refused(build: Build, last: int) -> None:
    engine = build(rows.GENERIC)
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
