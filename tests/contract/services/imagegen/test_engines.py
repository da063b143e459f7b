"""What every engine promises, whatever the family."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from servekit.errors import Cancelled
from services.imagegen.ports import Engine, State
from tests.contract.services.imagegen import runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
FAMILIES = pytest.mark.parametrize("base", [rows.FLUX, rows.SDXL, rows.SD3], ids=["flux", "sdxl", "sd3"])


@FAMILIES
def test_the_same_seed_gives_the_same_bytes(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)

    first, second = runs.alone(engine, runs.job()), runs.alone(engine, runs.job())

    assert np.array_equal(first.pixels, second.pixels)


@FAMILIES
def test_a_freshly_loaded_engine_gives_the_same_bytes(build: Build, fresh: Build, base: dict[str, Any]) -> None:
    assert np.array_equal(runs.alone(build(base), runs.job()).pixels, runs.alone(fresh(base), runs.job()).pixels)


@FAMILIES
@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"prompt": "a blue tree"}, {"steps": 4}, {"guidance": 9.0}, {"negative_prompt": "a house"}]
)
def test_each_parameter_changes_the_picture(build: Build, base: dict[str, Any], change: dict[str, Any]) -> None:
    engine = build(base)

    assert runs.apart(runs.alone(engine, runs.job()).pixels, runs.alone(engine, runs.job(**change)).pixels) > 0


@FAMILIES
def test_the_picture_has_the_size_asked_for(build: Build, base: dict[str, Any]) -> None:
    decoded = runs.alone(build(base), runs.job(width=48, height=16))

    assert decoded.pixels.shape == (16, 48, 3)
    assert decoded.pixels.dtype == np.uint8


@FAMILIES
def test_every_step_is_counted(build: Build, base: dict[str, Any]) -> None:
    engine, seen = build(base), []
    state = engine.prepare(runs.job(steps=4))
    while state.done < state.total:
        engine.step([state], lambda each: seen.append(each.done))
        seen.append(state.done)

    assert (sorted(set(seen)), state.total) == ([1, 2, 3, 4], 4)


@FAMILIES
def test_a_prompt_s_tokens_are_counted_past_what_is_read(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    short, long = (engine.prepare(runs.job(prompt="a red lake " * times)).prompt_tokens for times in (1, 40))

    assert 1 < short < base["max_tokens"] < 40 < long


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_whole_pipeline_stops_at_the_step_that_is_refused(build: Build, last: int) -> None:
    engine = build(rows.SDXL)
    state = engine.prepare(runs.job())

    def refuse(each: State) -> None:
        if each.done == last:
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.step([state], refuse)
    assert state.done == last


@FAMILIES
def test_an_engine_works_on_after_a_refused_step(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    expected = runs.alone(engine, runs.job())
    state = engine.prepare(runs.job(seed=99))

    def refuse(_: State) -> None:
        raise Cancelled

    with suppress(Cancelled):
        engine.step([state], refuse)

    assert np.array_equal(runs.alone(engine, runs.job()).pixels, expected.pixels)


@FAMILIES
def test_resident_bytes_are_those_of_the_weights(build: Build, base: dict[str, Any], models_dir: Any) -> None:
    on_disk = sum(file.stat().st_size for file in (models_dir / base["source"]).rglob("*.safetensors"))

    assert build(base).resident_bytes == pytest.approx(on_disk, rel=0.1)


@FAMILIES
def test_half_precision_weighs_half(build: Build, base: dict[str, Any]) -> None:
    assert build(base, dtype="bfloat16").resident_bytes == pytest.approx(build(base).resident_bytes / 2, rel=0.1)


@pytest.mark.parametrize("scheduler", rows.SDXL["schedulers"])
def test_each_scheduler_offered_works(build: Build, scheduler: str) -> None:
    assert runs.alone(build(rows.SDXL), runs.job(scheduler=scheduler)).finite


@FAMILIES
def test_a_nan_in_the_decoder_is_noticed(fresh: Build, base: dict[str, Any]) -> None:
    assert not runs.alone(_broken(fresh(base), "vae"), runs.job()).finite


@FAMILIES
def test_a_nan_in_the_latents_is_noticed_and_not_worth_decoding_again(fresh: Build, base: dict[str, Any]) -> None:
    core = "unet" if base is rows.SDXL else "transformer"
    decoded = runs.alone(_broken(fresh(base, dtype="bfloat16"), core), runs.job())

    assert (decoded.finite, decoded.can_decode_fp32) == (False, False)


@FAMILIES
@pytest.mark.parametrize(("dtype", "can"), [("float32", False), ("bfloat16", True)])
def test_decoding_in_fp32_is_offered_where_it_may_help(
    build: Build, base: dict[str, Any], dtype: str, can: bool
) -> None:
    assert runs.alone(build(base, dtype=dtype), runs.job()).can_decode_fp32 is can


@FAMILIES
def test_decoding_in_fp32_gives_the_same_picture_but_for_rounding(build: Build, base: dict[str, Any]) -> None:
    engine = build(base, dtype="bfloat16")
    state = engine.prepare(runs.job(guidance=1.0))
    while state.done < state.total:
        engine.step([state], runs.ignore)
    usual, precise = engine.finish(state), engine.finish(state, fp32=True)

    assert np.abs(usual.pixels.astype(int) - precise.pixels.astype(int)).mean() < 4
    assert not precise.can_decode_fp32


def _broken(engine: Engine, component: str) -> Engine:
    """Set one weight of a component to NaN, as an overflow would leave it."""
    import torch

    pipeline = engine._pipeline  # type: ignore[attr-defined]
    with torch.no_grad():
        next(getattr(pipeline, component).parameters()).view(-1)[0] = float("nan")
        for parameter in getattr(pipeline, component).parameters():
            parameter.view(-1)[0] = float("nan")
    return engine
