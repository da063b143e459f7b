"""Requests share forward passes and stay themselves, whatever the family."""

from dataclasses import replace
from typing import Any

import pytest

from servekit.errors import ModelUnavailable
from services.imagegen.domain import AdapterChoice, Job, Pixels
from services.imagegen.ports import Engine, State
from tests.contract.services.imagegen import oracle, runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers

TOLERANCE = 2
"""Of 255, for rounding: sums over a batch are not taken in the same order as alone."""
LORA = (AdapterChoice("tiny_flux_lora", 1.0),)
STEPWISE = [rows.FLUX, rows.SDXL, rows.SD3, rows.HIDREAM]
FAMILIES = pytest.mark.parametrize("base", STEPWISE, ids=lambda base: base["family"])


def staggered(engine: Engine, jobs: list[Job]) -> list[Pixels]:
    """Make pictures together, each joining one step after the one before."""
    waiting = [engine.prepare(job) for job in jobs]
    active: list[State] = []
    finished: dict[int, Pixels] = {}
    order = list(waiting)
    while waiting or active:
        if waiting:
            active.append(waiting.pop(0))
        engine.step(active, runs.ignore)
        for state in [each for each in active if each.done == each.total]:
            finished[id(state)] = engine.finish(state).pixels
            active.remove(state)
    return [finished[id(state)] for state in order]


@FAMILIES
def test_pictures_at_different_steps_share_passes_and_come_out_as_alone(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    schedulers = base["schedulers"]
    jobs = [
        runs.job(seed=1),
        runs.job(seed=2, steps=5, prompt="a blue tree", scheduler=schedulers[-1]),
        runs.job(seed=3, steps=2, guidance=7.5, negative_prompt="a house", scheduler=schedulers[0]),
        runs.job(seed=4, steps=4),
    ]
    expected = [runs.alone(engine, job).pixels for job in jobs]

    together = staggered(engine, jobs)

    assert max(map(runs.apart, together, expected)) <= TOLERANCE


@FAMILIES
def test_unguided_pictures_share_passes_too(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    jobs = [runs.job(seed=seed, guidance=1.0, steps=seed) for seed in (2, 3, 4)]
    expected = [runs.alone(engine, job).pixels for job in jobs]

    assert max(map(runs.apart, staggered(engine, jobs), expected)) <= TOLERANCE


def test_pictures_made_anew_in_part_share_passes_with_whole_ones(build: Build) -> None:
    engine = build(rows.SDXL)
    jobs = [
        runs.job(seed=1, steps=5, source=oracle.source(0.6, masked=True), scheduler="euler_a"),
        runs.job(seed=2),
        runs.job(seed=3, steps=5, source=oracle.source(0.5)),
    ]
    expected = [runs.alone(engine, job).pixels for job in jobs]

    assert max(map(runs.apart, staggered(engine, jobs), expected)) <= TOLERANCE


def test_pictures_share_passes_until_the_refiner_takes_over(build: Build) -> None:
    engine = build(rows.REFINED)
    state, other = (engine.prepare(runs.job(steps=10, refine=refine)) for refine in (True, False))
    shared = []
    while state.done < state.total:
        shared.append(state.batch_key == other.batch_key)
        engine.step([state], runs.ignore)

    assert shared == [True] * 8 + [False] * 2


@pytest.mark.parametrize("change", [{"width": 48}, {"height": 16}, {"adapters": LORA}, {"alone": True}])
def test_pictures_that_cannot_share_have_different_keys(build: Build, change: dict[str, object]) -> None:
    engine = build()

    assert engine.prepare(runs.job()).batch_key != engine.prepare(runs.job(**change)).batch_key


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 9}, {"guidance": 2.0}, {"guidance": 1.0}, {"prompt": "a"}])
def test_pictures_that_can_share_have_equal_keys(build: Build, change: dict[str, object]) -> None:
    engine = build()

    assert engine.prepare(runs.job()).batch_key == engine.prepare(runs.job(**change)).batch_key


def test_two_pictures_that_want_to_be_alone_do_not_share(build: Build) -> None:
    engine, job = build(), runs.job(alone=True)
    one, other = engine.prepare(job), engine.prepare(runs.job(alone=True))

    assert one.batch_key != other.batch_key


@FAMILIES
def test_adapters_of_others_leave_no_trace(build: Build, base: dict[str, Any]) -> None:
    engine = build(base)
    lora = (AdapterChoice(f"{base['source']}_lora", 1.0),)
    plain, worn = runs.alone(engine, runs.job()).pixels, runs.alone(engine, runs.job(adapters=lora)).pixels
    one, other = engine.prepare(runs.job()), engine.prepare(runs.job(adapters=lora))
    while one.done < one.total:
        engine.step([one], runs.ignore)
        engine.step([other], runs.ignore)

    assert runs.apart(plain, worn) > TOLERANCE
    assert runs.apart(engine.finish(one).pixels, plain) == 0
    assert runs.apart(engine.finish(other).pixels, worn) == 0


def test_an_adapter_that_is_not_there_is_a_typed_error_and_changes_nothing(build: Build) -> None:
    engine = build()
    before = runs.alone(engine, runs.job()).pixels

    with pytest.raises(ModelUnavailable, match="no_such_lora"):
        engine.prepare(runs.job(adapters=(AdapterChoice("tiny_flux_lora"), AdapterChoice("no_such_lora"))))

    assert runs.apart(runs.alone(engine, runs.job()).pixels, before) == 0


def at_once(engine: Engine, jobs: list[Job]) -> list[Pixels]:
    """Make pictures of equally many steps together from beginning to end, as far as their keys agree."""
    states, pictures = engine.prepare_all(jobs), dict[int, Pixels]()
    for key in {each.batch_key for each in states}:
        alike = [each for each in states if each.batch_key == key]
        while alike[0].done < alike[0].total:
            engine.step(alike, runs.ignore)
        pictures |= {id(each): made.pixels for each, made in zip(alike, engine.finish_all(alike), strict=True)}
    return [pictures[id(each)] for each in states]


@pytest.mark.parametrize("base", [*STEPWISE, rows.REFINED], ids=lambda base: base["id"])
def test_pictures_prepared_and_finished_at_once_come_out_as_alone(fresh: Build, base: dict[str, Any]) -> None:
    jobs = [
        runs.job(seed=1),
        runs.job(seed=2, prompt="a blue tree", guidance=2.0, negative_prompt="a house"),
        runs.job(seed=3, prompt="a red lake and a boat " * 8),
        runs.job(seed=4, prompt="a blue tree"),
    ]
    jobs = [replace(job, refine=base == rows.REFINED) for job in jobs]
    engine = fresh(base)
    expected = [runs.alone(engine, job).pixels for job in jobs]

    assert max(map(runs.apart, at_once(fresh(base), jobs), expected)) <= TOLERANCE


@FAMILIES
def test_a_picture_made_alone_is_the_same_whatever_company_its_prompt_had(fresh: Build, base: dict[str, Any]) -> None:
    engine = fresh(base)
    at_once(engine, [runs.job(), runs.job(prompt="a blue tree")])

    assert runs.apart(runs.alone(engine, runs.job()).pixels, runs.alone(fresh(base), runs.job()).pixels) == 0


@FAMILIES
def test_prompts_are_read_in_one_pass_and_once(fresh: Build, base: dict[str, Any]) -> None:
    engine, passes = fresh(base), list[int]()
    encoders = [each for each in engine.modules if type(each).__name__.startswith(("CLIP", "T5", "Llama"))]
    for encoder in encoders:
        encoder.register_forward_hook(lambda _module, _inputs, output: passes.append(len(output[0])))
    jobs = [runs.job(guidance=1.0, prompt=prompt) for prompt in ("a red lake", "a blue tree", "a red lake", "a boat")]
    engine.prepare_all(jobs)
    engine.prepare_all(jobs)

    assert passes == [3] * len(encoders)


@pytest.mark.parametrize(("side", "passes"), [(32, [3]), (352, [2, 1]), (512, [1, 1, 1])])
def test_small_pictures_are_decoded_in_one_pass(fresh: Build, side: int, passes: list[int]) -> None:
    engine, decoded = fresh(), list[int]()
    (vae,) = [each for each in engine.modules if type(each).__name__ == "AutoencoderKL"]
    vae.decoder.register_forward_hook(lambda _module, _inputs, output: decoded.append(len(output)))
    engine.finish_all(engine.prepare_all([runs.job(seed=seed, width=side, height=side) for seed in range(3)]))

    assert decoded == passes
