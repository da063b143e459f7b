from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servekit.errors import InvalidRequest, PermissionDenied
from services.imagegen.catalog import AdapterRow, Catalog
from services.imagegen.domain import (
    AdapterChoice,
    GenerationRequest,
    Priority,
    SafetyPolicy,
    SourceImage,
    Tier,
)
from services.imagegen.plan import OTHER_PASSES, Limits, Plan, refit, resolve, unread
from services.imagegen.step_cache import StepCache
from tests.unit.services.imagegen import rows

LORA = AdapterRow(id="lora", base="tiny_flux", license="MIT", source="lora")
OTHER = AdapterRow(id="other", base="elsewhere", license="MIT", source="other")
SIZES = {"default": [96, 96], "min": 64, "max": 192, "multiple_of": 16}


def plan(limits: Limits | None = None, row: dict[str, Any] | None = None, **asked: Any) -> Plan:
    fitted = rows.row(rows.FLUX, size=SIZES, **(row or {}))
    request = GenerationRequest(**{"prompt": "a lake", **asked})
    return resolve(request, fitted, Catalog([fitted], [LORA, OTHER]), limits or Limits(), lambda: 42)


def violations(**asked: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        plan(row={"capabilities": ["text_to_image", "image_to_image", "adapters"]}, **asked)
    return [each.field for each in caught.value.violations]


def test_what_is_not_asked_for_is_the_model_s_default() -> None:
    made = plan()
    job = made.first

    assert (job.width, job.height, job.steps, job.guidance, job.scheduler) == (96, 96, 3, 4.0, "flow_euler")
    assert (job.seed, made.adjustments, made.safety) == (42, (), SafetyPolicy.BLOCK)


def test_what_is_asked_for_and_supported_is_kept() -> None:
    made = plan(width=128, height=64, steps=7, guidance=2.5, seed=5, count=3)
    job = made.first

    assert (job.width, job.height, job.steps, job.guidance, job.seed) == (128, 64, 7, 2.5, 5)
    assert ([made.job(index).seed for index in range(3)], made.adjustments) == ([5, 6, 7], ())


def test_nobody_gets_a_higher_priority_than_he_may_have() -> None:
    made = plan(priority=Priority.HIGH, priority_ceiling=Priority.LOW)

    assert made.priority is Priority.LOW
    assert [(each.field, each.requested, each.used) for each in made.adjustments] == [("priority", "high", "low")]


def test_a_priority_below_the_highest_is_kept() -> None:
    made = plan(priority=Priority.LOW, priority_ceiling=Priority.NORMAL)

    assert (made.priority, made.adjustments) == (Priority.LOW, ())


@pytest.mark.parametrize(
    ("field", "asked", "used"),
    [
        ("width", 100, "96"),
        ("width", 16, "64"),
        ("width", 4096, "192"),
        ("height", 1000, "192"),
        ("steps", 200, "50"),
        ("guidance", 25.0, "10"),
        ("negative_prompt", "fog", ""),
        ("refine", True, "false"),
    ],
)
def test_every_change_is_reported(field: str, asked: Any, used: str) -> None:
    row = {"capabilities": ["text_to_image"]} if field == "negative_prompt" else {}
    adjustments = {each.field: each for each in plan(row=row, **{field: asked}).adjustments}

    assert adjustments[field].used == used
    assert adjustments[field].reason


def test_shrinking_keeps_the_proportions() -> None:
    job = plan(width=1024, height=512).first

    assert (job.width, job.height) == (192, 96)


def test_a_picture_that_starts_from_another_has_its_proportions() -> None:
    source = SourceImage(np.zeros((96, 192, 3), np.uint8), None, 0.5)

    assert [(job.width, job.height) for job in (plan(source=source).first, plan(source=source, height=64).first)] == [
        (192, 96),
        (192, 64),
    ]


REFINER = {"refiner": {"source": "refiner"}}


@pytest.mark.parametrize(
    ("row", "asked", "refined"),
    [
        (REFINER, None, True),
        (REFINER, False, False),
        (REFINER, True, True),
        ({**REFINER, "refine": False}, None, False),
        ({**REFINER, "refine": False}, True, True),
        ({}, None, False),
    ],
)
def test_the_refiner_runs_as_the_row_says_unless_the_request_does(
    row: dict[str, Any], asked: bool | None, refined: bool
) -> None:
    made = plan(row=row, refine=asked)

    assert (made.first.refine, made.adjustments) == (refined, ())


def test_a_picture_that_starts_from_another_is_not_refined() -> None:
    source = SourceImage(np.zeros((96, 96, 3), np.uint8), None, 0.5)
    made = plan(row=REFINER, refine=True, source=source)

    assert (made.first.refine, [each.field for each in made.adjustments]) == (False, ["refine"])


def test_the_deployment_s_longest_side_counts_too() -> None:
    job = plan(Limits(max_side=130), width=192, height=192).first

    assert (job.width, job.height) == (128, 128)


@given(st.none() | st.integers(16, 4096), st.none() | st.integers(16, 4096), st.none() | st.integers(16, 4096))
def test_a_size_is_always_one_that_the_model_makes(width: int | None, height: int | None, limit: int | None) -> None:
    job = plan(Limits(max_side=limit), width=width, height=height).first

    for side in (job.width, job.height):
        assert side % 16 == 0
        assert 64 <= side <= max(64, min(192, limit or 192))


def test_what_the_model_cannot_do_at_all_is_refused_all_at_once() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    source = SourceImage(pixels, mask=pixels[..., 0], strength=0.5)
    adapters = (AdapterChoice("lora"), AdapterChoice("other"), AdapterChoice("none"))

    assert violations(count=9, scheduler="euler", adapters=adapters, source=source) == [
        "count",
        "scheduler",
        "adapters[1].id",
        "adapters[2].id",
        "source.mask",
    ]


def test_adapters_of_the_row_come_before_those_of_the_request() -> None:
    job = plan(row={"adapters": ["own"]}, adapters=(AdapterChoice("lora", 0.5),)).first

    assert job.adapters == (AdapterChoice("own", 1.0), AdapterChoice("lora", 0.5))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_weight_asked_for_replaces_the_one_of_the_row(weight: float) -> None:
    job = plan(row={"adapters": ["lora", "own"]}, adapters=(AdapterChoice("lora", weight),)).first

    assert job.adapters == (AdapterChoice("lora", weight), AdapterChoice("own", 1.0))


def taken_over(**asked: Any) -> Plan:
    """Return the plan of a model that takes over, whose only adapter is `other`."""
    row = rows.row(rows.FLUX, id="elsewhere", size=SIZES)
    request = GenerationRequest(**{"prompt": "a lake", **asked})
    return refit(
        request, replace(plan().first, prompt="a sea", seed=7), row, Catalog([row], [LORA, OTHER]), Limits(), int
    )


def test_a_model_that_takes_over_keeps_the_words_the_seed_and_the_adapters_that_fit_it() -> None:
    made = taken_over(adapters=(AdapterChoice("other", 0.5),), width=128)

    assert (made.first.prompt, made.first.seed, made.first.width) == ("a sea", 7, 128)
    assert (made.first.adapters, made.adjustments) == ((AdapterChoice("other", 0.5),), ())


def test_what_a_model_that_takes_over_does_not_keep_is_reported() -> None:
    made = taken_over(
        adapters=(AdapterChoice("other"), AdapterChoice("lora")), steps=9, guidance=4.0, scheduler="euler"
    )

    assert [(each.field, each.requested, each.used) for each in made.adjustments] == [
        ("steps", "9", "3"),
        ("scheduler", "euler", "flow_euler"),
        ("adapters[1].id", "lora", ""),
    ]


def test_ignoring_the_safety_check_needs_permission() -> None:
    with pytest.raises(PermissionDenied) as caught:
        plan(safety=SafetyPolicy.IGNORE)

    assert caught.value.metadata() == {"cause": "safety_policy"}


def test_with_permission_the_safety_check_can_be_ignored() -> None:
    assert plan(Limits(may_ignore_safety=True), safety=SafetyPolicy.IGNORE).safety is SafetyPolicy.IGNORE


@pytest.mark.parametrize("wanted", [SafetyPolicy.BLOCK, SafetyPolicy.FLAG])
def test_who_relies_on_a_check_that_there_is_not_is_told(wanted: SafetyPolicy) -> None:
    (told,) = plan(Limits(judges=False), safety=wanted).adjustments

    assert (told.field, told.requested, told.used) == ("safety", wanted.value, "ignore")
    assert "nsfw_model" in told.reason


@pytest.mark.parametrize(
    ("judges", "wanted"), [(True, SafetyPolicy.BLOCK), (False, None), (False, SafetyPolicy.IGNORE)]
)
def test_who_does_not_is_not(judges: bool, wanted: SafetyPolicy | None) -> None:
    assert plan(Limits(judges=judges, may_ignore_safety=True), safety=wanted).adjustments == ()


def test_where_flagged_pictures_are_blocked_nothing_is_shown_that_nobody_judged() -> None:
    made = plan(preview_every=2)
    (told,) = made.adjustments

    assert made.first.preview_every == 0
    assert (told.field, told.requested, told.used) == ("preview_every", "2", "0")


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (Limits(), SafetyPolicy.FLAG),
        (Limits(safety=SafetyPolicy.FLAG), None),
        (Limits(may_ignore_safety=True), SafetyPolicy.IGNORE),
        (Limits(judges=False), None),
    ],
)
def test_elsewhere_previews_are_sent(limits: Limits, wanted: SafetyPolicy | None) -> None:
    made = plan(limits, preview_every=2, safety=wanted)

    assert (made.first.preview_every, made.adjustments) == (2, ())


def test_a_model_that_takes_over_shows_nothing_either() -> None:
    assert taken_over(preview_every=2).first.preview_every == 0


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({}, {"guidance": 1.0}),
        ({"guidance": {"default": 0, "min": 0, "max": 0}}, {"guidance": 4.0}),
        ({"cfg": "embedded"}, {}),
        ({"fast": {"steps": 3, "guided": 0.4}}, {"tier": Tier.FAST, "steps": 1}),
    ],
)
def test_a_negative_prompt_that_no_step_reads_is_dropped_and_reported(
    row: dict[str, Any], asked: dict[str, Any]
) -> None:
    made = plan(row=row, negative_prompt="fog", **asked)
    told = {each.field: each for each in made.adjustments}["negative_prompt"]

    assert (made.first.negative_prompt, told.requested, told.used) == ("", "fog", "")


def test_a_negative_prompt_that_some_step_reads_is_kept() -> None:
    made = plan(row={"fast": {"steps": 3, "guided": 0.4}}, negative_prompt="fog", tier=Tier.FAST, guidance=1.1)

    assert (made.first.negative_prompt, made.adjustments) == ("fog", ())


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_what_a_model_does_not_read_is_reported_of_either_prompt(field: Literal["prompt", "negative_prompt"]) -> None:
    row = rows.row(rows.FLUX, max_tokens=16)

    assert unread(row, 16, field) == []
    assert [(each.field, each.requested, each.used) for each in unread(row, 17, field)] == [
        (field, "17 tokens", "16 tokens")
    ]


def passes(of: Plan) -> float:
    """Return the forward passes that a plan counts as work, without those for encoding and decoding."""
    return round(of.work * 1e6 / (of.first.width * of.first.height), 6) - OTHER_PASSES


def test_work_counts_both_passes_of_true_guidance() -> None:
    assert passes(plan()) == 2 * passes(plan(guidance=1.0))


def test_a_tier_sets_what_the_request_leaves_open() -> None:
    row = {"fast": {"steps": 2, "guided": 0.5}}
    usual, fast, named = (
        plan(row=row, **asked) for asked in ({}, {"tier": Tier.FAST}, {"tier": Tier.FAST, "steps": 9})
    )

    assert [(each.first.steps, each.first.guided) for each in (usual, fast, named)] == [(3, 1.0), (2, 0.5), (9, 0.5)]
    assert (passes(fast) / passes(usual), fast.adjustments) == (2 * 1.5 / (3 * 2), ())


FAST = {"steps": 9, "guided": 0.5, "cache": {"interval": 3, "first": 2, "last": 1}, "decoder": "tiny"}
CORNERS = {
    "steps": {"default": 9, "min": 1, "max": 50},
    "tiny_vae": {"source": "tiny_vae"},
    "schedulers": ["flow_euler", "flow_heun"],
    "fast": FAST,
}


def test_forecast_steps_are_no_work() -> None:
    """Steps 0, 1, 3, 6 and 8 of nine are computed, those before the fourth with two passes."""
    usual, fast = plan(row=CORNERS), plan(row=CORNERS, tier=Tier.FAST)

    assert passes(fast) / passes(usual) == pytest.approx((2 + 2 + 2 + 1 + 1) / (2 * 9))


def test_a_tier_tells_where_it_cuts_corners_and_why() -> None:
    usual, fast = plan(row=CORNERS), plan(row=CORNERS, tier=Tier.FAST)

    assert (usual.first.cache, usual.first.decoder, usual.choices) == (None, "full", ())
    assert (fast.first.cache, fast.first.decoder) == (StepCache(3, first=2, last=1), "tiny")
    assert {each.name: each.value for each in fast.choices} == {"cache": "1 step in 3 computed", "decoder": "tiny"}
    assert all(each.reason.startswith("the tier fast: ") for each in fast.choices)


def test_a_scheduler_that_cannot_do_with_forecasts_has_none() -> None:
    fast = plan(row=CORNERS, tier=Tier.FAST, scheduler="flow_heun")

    assert fast.first.cache is None
    assert (fast.choices[0].name, fast.choices[0].value) == ("cache", "off")
    assert "flow_heun goes back and forth" in fast.choices[0].reason


def test_a_picture_that_starts_from_another_is_less_work() -> None:
    source = SourceImage(np.zeros((96, 96, 3), np.uint8), None, 1 / 3)

    assert passes(plan(row=CORNERS, source=source)) == pytest.approx(passes(plan(row=CORNERS)) / 3)


def test_a_tier_that_the_model_does_not_have_is_among_the_adjustments() -> None:
    assert [each.field for each in plan(tier=Tier.BEST).adjustments] == ["tier"]
