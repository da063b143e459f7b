"""What every engine promises, whatever the family."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from servekit.errors import Cancelled, ModelUnavailable
from services.imagegen.ports import Engine, State
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
STEPWISE = [rows.FLUX, rows.SDXL, rows.SD3, rows.HIDREAM]
FAMILIES = pytest.mark.parametrize("base", [*STEPWISE, rows.GENERIC], ids=lambda base: base["family"])
TAKEN_APART = pytest.mark.parametrize("base", STEPWISE, ids=lambda base: base["family"])
CORES = {"sdxl": "unet", "generic": "unet"}
"""What denoises, where it is no transformer."""


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


@pytest.mark.parametrize(
    ("base", "scheduler"),
    [(base, scheduler) for base in (rows.SDXL, rows.SD3, rows.GENERIC) for scheduler in base["schedulers"]],
    ids=lambda value: value if isinstance(value, str) else value["family"],
)
def test_a_job_tells_how_many_steps_a_scheduler_takes(build: Build, base: dict[str, Any], scheduler: str) -> None:
    engine, job, seen = build(base), runs.job(steps=4, scheduler=scheduler), set[int]()
    state = engine.prepare(job)
    while state.done < state.total:
        engine.step([state], lambda each: seen.add(each.done))
        seen.add(state.done)

    assert sorted(seen) == list(range(1, job.taken + 1))


@pytest.mark.parametrize(("base", "scheduler"), [(rows.SDXL, "heun"), (rows.SD3, "flow_heun"), (rows.SD3, "")])
def test_a_job_tells_how_many_steps_are_left_to_a_picture_from_a_picture(
    build: Build, base: dict[str, Any], scheduler: str
) -> None:
    job = runs.job(steps=4, scheduler=scheduler, source=oracle.source(0.5))

    assert build(base).prepare(job).total == job.taken


@FAMILIES
def test_a_prompt_s_tokens_are_counted_past_what_is_read(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    short, long = (engine.prepare(runs.job(prompt="a red lake " * times)).prompt_tokens for times in (1, 40))

    assert 1 < short < base["max_tokens"] < 40 < long


@TAKEN_APART
def test_a_picture_can_be_given_up_after_any_step(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    expected = runs.alone(engine, runs.job())
    for taken in (0, 1, 2):
        given_up = engine.prepare(runs.job(seed=99))
        for _ in range(taken):
            engine.step([given_up], runs.ignore)

    assert np.array_equal(runs.alone(engine, runs.job()).pixels, expected.pixels)


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


def one(engine: Engine, prompt: str) -> None:
    """Make a picture."""
    runs.alone(engine, runs.job(prompt=prompt))


def two(engine: Engine, prompt: str) -> None:
    """Make two pictures together from beginning to end."""
    states = engine.prepare_all([runs.job(prompt=f"{prompt}, {seed}", seed=seed) for seed in (1, 2)])
    while states[0].done < states[0].total:
        engine.step(states, runs.ignore)
    engine.finish_all(states)


@pytest.mark.parametrize(
    ("base", "make"), [*((each, one) for each in [*STEPWISE, rows.GENERIC]), *((each, two) for each in STEPWISE)]
)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pictures_can_be_left_in_the_middle_of_anything_and_harm_nobody(
    build: Build, base: dict[str, Any], make: Callable[[Engine, str], None], share: float
) -> None:
    engine, looks = build(base), list[None]()
    expected = runs.alone(engine, runs.job())
    with engine.watching(lambda: looks.append(None)):
        make(engine, f"counted {make.__name__} {share}")  # a prompt of its own, or it would not be encoded

    with pytest.raises(Cancelled), engine.watching(_leave_at(round(share * (len(looks) - 1)))):
        make(engine, f"left {make.__name__} {share}")

    assert np.array_equal(runs.alone(engine, runs.job()).pixels, expected.pixels)


@TAKEN_APART
def test_an_engine_looks_up_in_every_stage(build: Build, base: dict[str, Any]) -> None:
    engine, looks = build(base), {"prepare": 0, "step": 0, "finish": 0}

    def looking(stage: str) -> AbstractContextManager[None]:
        return engine.watching(lambda: looks.update({stage: looks[stage] + 1}))

    with looking("prepare"):
        state = engine.prepare(runs.job(prompt="not encoded before", steps=1))
    with looking("step"):
        engine.step([state], runs.ignore)
    with looking("finish"):
        engine.finish(state)

    assert all(looks.values()), looks


def _leave_at(last: int) -> Callable[[], None]:
    """Return what raises `Cancelled` after it was called `last` times."""
    looks = itertools.count()

    def look() -> None:
        if next(looks) == last:
            raise Cancelled

    return look


@FAMILIES
def test_resident_bytes_are_those_of_the_weights(build: Build, base: dict[str, Any], models_dir: Path) -> None:
    folders = {base["source"], *(each["source"] for each in base.get("components", {}).values())}
    files = [file for folder in folders for file in (models_dir / folder).rglob("*.safetensors")]

    assert build(base).resident_bytes == pytest.approx(sum(file.stat().st_size for file in files), rel=0.1)


@FAMILIES
def test_half_precision_weighs_half(build: Build, base: dict[str, Any]) -> None:
    assert build(base, dtype="bfloat16").resident_bytes == pytest.approx(build(base).resident_bytes / 2, rel=0.1)


@FAMILIES
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_weights_have_the_data_type_asked_for(load: Load, base: dict[str, Any], dtype: str) -> None:
    components = load(rows.row(base, dtype=dtype)).components.values()
    weights = [each for part in components if isinstance(part, torch.nn.Module) for each in part.parameters()]

    assert {str(each.dtype) for each in weights} == {f"torch.{dtype}"}


@FAMILIES
def test_a_nan_in_the_decoder_is_noticed(fresh: Build, base: dict[str, Any]) -> None:
    assert not runs.alone(fresh(base, spoiled="vae"), runs.job()).finite


@FAMILIES
def test_a_nan_in_the_latents_is_noticed_and_not_worth_decoding_again(fresh: Build, base: dict[str, Any]) -> None:
    spoiled = CORES.get(base["family"], "transformer")
    decoded = runs.alone(fresh(base, dtype="bfloat16", spoiled=spoiled), runs.job())

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


@FAMILIES
def test_no_memory_to_decode_in_fp32_leaves_the_decoder_as_it_was(
    fresh: Build, base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = fresh(base, dtype="bfloat16")
    state = engine.prepare(runs.job())
    while state.done < state.total:
        engine.step([state], runs.ignore)
    usual = engine.finish(state)
    vae: Any = next(each for each in engine.modules if isinstance(each, AutoencoderKL))
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(torch.Tensor, "to", _out_of_memory_at(5, torch.Tensor.to))
        engine.finish(state, fp32=True)

    assert {each.dtype for each in vae.parameters()} == {torch.bfloat16}
    assert np.array_equal(engine.finish(state).pixels, usual.pixels)


def _out_of_memory_at(number: int, move: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Return `move` as it is but for one call, at which the device has no memory left."""
    calls = itertools.count(1)

    def moving(*arguments: Any, **options: Any) -> torch.Tensor:
        if next(calls) == number:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return move(*arguments, **options)

    return moving


@TAKEN_APART
def test_a_preview_shows_where_the_picture_is_heading(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    state = engine.prepare(runs.job(preview_every=1, steps=8))
    for _ in range(7):
        engine.step([state], runs.ignore)
    preview = engine.preview(state)
    engine.step([state], runs.ignore)

    assert preview is not None
    assert np.abs(preview.astype(int) - engine.finish(state).pixels.astype(int)).mean() < 25


@pytest.mark.parametrize("scheduler", rows.SDXL["schedulers"])
def test_a_preview_is_right_for_every_scheduler(build: Build, scheduler: str) -> None:
    engine = build(rows.SDXL)
    state = engine.prepare(runs.job(preview_every=1, steps=12, scheduler=scheduler))
    while state.done < state.total - 1:
        engine.step([state], runs.ignore)
    preview = engine.preview(state)
    engine.step([state], runs.ignore)

    assert preview is not None
    assert np.abs(preview.astype(int) - engine.finish(state).pixels.astype(int)).mean() < 25


def test_a_preview_of_a_large_picture_is_small(build: Build) -> None:
    engine = build(rows.SDXL)
    state = engine.prepare(runs.job(preview_every=1, width=160, height=80))
    engine.step([state], runs.ignore)
    preview = engine.preview(state)

    assert preview is not None
    assert preview.shape == (32, 64, 3)


@FAMILIES
def test_previews_cost_nothing_unless_wanted(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    state = engine.prepare(runs.job())
    engine.step([state], runs.ignore)

    assert engine.preview(state) is None


def test_a_row_whose_sizes_the_weights_cannot_make_is_refused(fresh: Build) -> None:
    size = {"default": [32, 32], "min": 16, "max": 64, "multiple_of": 2}

    with pytest.raises(ModelUnavailable, match="multiple_of is 2 in the catalog; these weights need 4"):
        fresh(rows.FLUX, size=size)
