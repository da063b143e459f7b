"""Forecast steps, held to diffusers' TaylorSeer cache in its lite form: the last layer's output is forecast.

To the bit, but for FLUX with a second pass, where both halves run in one batch here and one after the other there.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers.hooks.hooks import CacheContext, HookRegistry, _set_cache_context
from diffusers.hooks.taylorseer_cache import TaylorSeerCacheConfig, apply_taylorseer_cache

from servekit.errors import Cancelled, ModelUnavailable
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.batching import Batcher
from services.imagegen.domain import AdapterChoice, Pixels
from services.imagegen.engines.schedulers import fresh as fresh_scheduler
from services.imagegen.ports import Engine
from services.imagegen.step_cache import StepCache
from services.imagegen.turns import Made
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build, Load
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
STEPWISE = pytest.mark.parametrize("base", [rows.FLUX, rows.SDXL, rows.SD3, rows.HIDREAM], ids=lambda base: base["id"])
CACHE = StepCache(interval=3, first=2, last=1)
COMPUTED = [0, 1, 3, 6, 8]
"""Of nine steps."""
RULES = pytest.mark.parametrize(
    "cache",
    [CACHE, StepCache(interval=2), StepCache(interval=4, first=1, order=2), StepCache(interval=3, order=0)],
    ids=["order 1", "every second", "order 2", "reused"],
)
LAST_LAYER = {"sdxl": "conv_out", "sd3": "proj_out", "hidream": "final_layer.linear"}


def core(engine: Engine) -> Any:
    """Return the denoising network."""
    return next(each for each in engine.modules if "2D" in type(each).__name__)


def config(cache: StepCache, steps: int, dtype: torch.dtype, **lite: Any) -> TaylorSeerCacheConfig:
    return TaylorSeerCacheConfig(
        cache_interval=cache.interval,
        disable_cache_before_step=cache.first,
        disable_cache_after_step=steps - cache.last,
        max_order=cache.order,
        taylor_factors_dtype=dtype,
        **lite,
    )


@contextmanager
def forecasting(network: Any, cache: StepCache, steps: int, last_layer: str) -> Iterator[None]:
    """Have a network forecast its last layer, for pipelines that have no cache contexts: both halves are one batch."""
    apply_taylorseer_cache(network, config(cache, steps, network.dtype, cache_identifiers=[last_layer]))
    _set_cache_context(network, CacheContext("both"))
    try:
        yield
    finally:
        registry = HookRegistry.check_if_exists_or_initialize(network)
        registry.remove_hook("taylorseer_cache", recurse=True)


@RULES
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_flux_without_guidance_is_the_library_s_to_the_bit(
    build: Build, load: Load, cache: StepCache, dtype: str
) -> None:
    pipeline = load(rows.row(rows.FLUX, dtype=dtype))
    pipeline.transformer.enable_cache(config(cache, 9, pipeline.dtype, use_lite_mode=True))
    expected = oracle.picture(pipeline, width=32, height=32, max_sequence_length=16, num_inference_steps=9)

    engine = build(rows.FLUX, dtype=dtype)

    assert runs.apart(runs.alone(engine, runs.job(steps=9, guidance=1.0, cache=cache)).pixels, expected) == 0
    assert runs.apart(runs.alone(engine, runs.job(steps=9, guidance=1.0)).pixels, expected) > 0


@RULES
def test_flux_with_guidance_is_the_library_s(build: Build, load: Load, cache: StepCache) -> None:
    pipeline = load(rows.row(rows.FLUX))
    pipeline.transformer.enable_cache(config(cache, 9, torch.float32, use_lite_mode=True))
    call: dict[str, Any] = {"num_inference_steps": 9, "true_cfg_scale": 4.0, "negative_prompt": "a blue tree"}
    expected = oracle.picture(pipeline, width=32, height=32, max_sequence_length=16, **call)

    job = runs.job(steps=9, negative_prompt="a blue tree", cache=cache)

    assert runs.apart(runs.alone(build(), job).pixels, expected) <= oracle.TOLERANCE


@RULES
@pytest.mark.parametrize(
    ("base", "scheduler"),
    [(rows.SDXL, "euler"), (rows.SDXL, "dpmpp_2m"), (rows.SD3, "flow_euler"), (rows.HIDREAM, "flow_unipc")],
    ids=lambda each: each if isinstance(each, str) else each["id"],
)
def test_other_families_are_the_library_s_to_the_bit(
    build: Build, load: Load, cache: StepCache, base: dict[str, Any], scheduler: str
) -> None:
    pipeline = load(rows.row(base))
    pipeline.scheduler = fresh_scheduler(pipeline.scheduler, scheduler)
    if base is rows.HIDREAM:
        pipeline.default_sample_size = 16  # it brings every picture to this area
    network = pipeline.unet if base is rows.SDXL else pipeline.transformer
    call: dict[str, Any] = {} if base is rows.SDXL else {"max_sequence_length": 16}
    with forecasting(network, cache, 9, LAST_LAYER[base["family"]]):
        expected = oracle.picture(pipeline, width=32, height=32, num_inference_steps=9, guidance_scale=4.0, **call)

    job = runs.job(steps=9, scheduler=scheduler, cache=cache)

    assert runs.apart(runs.alone(build(base), job).pixels, expected) == 0


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_whole_pipeline_forecasts_as_the_library_does(build: Build, load: Load, guidance: float) -> None:
    row = {**rows.QWEN_IMAGE, "fast": {"steps": 3, "cache": {"interval": 3}}}
    pipeline = load(rows.row(row))
    pipeline.transformer.enable_cache(config(CACHE, 9, torch.float32, use_lite_mode=True))
    call: dict[str, Any] = {"num_inference_steps": 9, "max_sequence_length": 32, "true_cfg_scale": guidance}
    expected = oracle.picture(pipeline, width=32, height=32, **call, negative_prompt="a blue tree")
    engine = build(row)
    plain = runs.alone(engine, runs.job(steps=9, guidance=guidance, negative_prompt="a blue tree")).pixels
    job = runs.job(steps=9, guidance=guidance, negative_prompt="a blue tree", cache=CACHE)

    pictures = [runs.alone(engine, job).pixels for _ in range(2)]

    assert [runs.apart(each, expected) for each in pictures] == [0, 0]
    assert runs.apart(plain, expected) > 0


def test_a_whole_pipeline_without_a_cache_says_so_when_it_is_loaded(fresh: Build) -> None:
    with pytest.raises(ModelUnavailable, match="no step cache for StableDiffusionXLPipeline; leave cache out"):
        fresh(rows.GENERIC, fast={"steps": 3, "cache": {"interval": 3}})


@STEPWISE
@pytest.mark.parametrize(
    ("guidance", "guided", "widths"), [(1.0, 1.0, [1] * 5), (4.0, 1.0, [2] * 5), (4.0, 0.6, [2, 2, 2, 1, 1])]
)
def test_the_network_is_run_for_the_computed_steps_alone(
    fresh: Build, base: dict[str, Any], guidance: float, guided: float, widths: list[int]
) -> None:
    engine, passes = fresh(base), list[int]()
    core(engine).register_forward_hook(lambda _module, _inputs, output: passes.append(len(output[0])))

    done = runs.alone(engine, runs.job(steps=9, guidance=guidance, guided=guided, cache=CACHE))

    assert passes == widths
    assert CACHE.computed(9) == COMPUTED
    assert done.finite


def test_a_refiner_s_forecasts_owe_nothing_to_the_base_s(fresh: Build) -> None:
    engine, passes = fresh(rows.REFINED), list[str]()
    for number, network in enumerate(each for each in engine.modules if "UNet2D" in type(each).__name__):
        network.register_forward_hook(lambda *_, name="br"[number]: passes.append(name))

    runs.alone(engine, runs.job(steps=20, refine=True, cache=StepCache(interval=4, first=2)))

    assert "".join(passes) == "bb" + "b" * len(range(3, 16, 4)) + "rr" + "r"


@STEPWISE
def test_pictures_with_and_without_forecasts_share_passes_and_come_out_as_alone(
    build: Build, base: dict[str, Any]
) -> None:
    engine = build(base)
    jobs = [runs.job(seed=1, steps=9, cache=CACHE), runs.job(seed=2, steps=7), runs.job(seed=3, steps=6, cache=CACHE)]
    expected = [runs.alone(engine, job).pixels for job in jobs]
    states = [engine.prepare(job) for job in jobs]
    while active := [each for each in states if each.done < each.total]:
        engine.step(active, runs.ignore)

    together = [engine.finish(state).pixels for state in states]

    assert max(map(runs.apart, together, expected)) <= 2


@STEPWISE
def test_a_forecast_step_wants_no_forward_pass(fresh: Build, base: dict[str, Any]) -> None:
    engine = fresh(base)
    state = engine.prepare(runs.job(steps=9, cache=CACHE))
    while not state.forecasts:
        engine.step([state], runs.ignore)
    core(engine).register_forward_hook(lambda *_: pytest.fail("a forward pass"))

    engine.step([state], runs.ignore)

    assert state.done == 3


def test_few_steps_are_all_computed(fresh: Build) -> None:
    """A picture made from another takes the last steps only, which count from the first one taken."""
    engine, passes = fresh(rows.FLUX), list[int]()
    core(engine).register_forward_hook(lambda _module, _inputs, output: passes.append(len(output[0])))
    job = runs.job(steps=9, source=oracle.source(0.25), cache=CACHE)

    state = engine.prepare(job)
    while state.done < state.total:
        engine.step([state], runs.ignore)

    assert (len(passes), state.total) == (3, 3)


def test_an_adapter_is_forecast_too(build: Build) -> None:
    engine = build()
    lora = (AdapterChoice("tiny_flux_lora", 1.0),)
    worn, bare = (runs.alone(engine, runs.job(steps=9, cache=CACHE, adapters=each)).pixels for each in (lora, ()))

    assert runs.apart(worn, bare) > 2


def test_a_whole_pipeline_that_is_cancelled_leaves_no_cache_behind(build: Build) -> None:
    engine = build({**rows.QWEN_IMAGE, "fast": {"steps": 3, "cache": {"interval": 3}}})
    plain = runs.job(steps=9, negative_prompt="a house")
    before = runs.alone(engine, plain).pixels

    def refuse(_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        engine.step([engine.prepare(runs.job(steps=9, cache=CACHE))], refuse)

    assert runs.apart(runs.alone(engine, plain).pixels, before) == 0


@pytest.mark.parametrize("last", [2, 3, 4, 5], ids="after {} steps".format)
async def test_cancelling_before_or_after_a_forecast_stops_there_and_harms_nobody(
    build: Build, worker: DeviceWorker, last: int
) -> None:
    engine, seen, token = build(), list[int](), CancelToken()
    beside = runs.job(seed=8, steps=9, cache=CACHE)
    expected = runs.alone(engine, beside).pixels

    def on_step(done: int, _total: int, _preview: Pixels | None) -> None:
        seen.append(done)
        if done == last:
            token.cancel()

    batcher = Batcher(engine, worker)
    doomed, made = await asyncio.gather(
        batcher.make(runs.job(steps=9, cache=CACHE), token=token, on_step=on_step),
        batcher.make(beside),
        return_exceptions=True,
    )

    assert isinstance(doomed, Cancelled)
    assert seen == list(range(1, last + 1))
    assert isinstance(made, Made)
    assert runs.apart(made.decoded.pixels, expected) <= 2
