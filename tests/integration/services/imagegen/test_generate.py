"""Pictures through a real server."""

import asyncio
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from atelier.imagegen.v1 import imagegen_pb2
from services.imagegen.domain import Pixels
from tests.contract.services.imagegen import runs
from tests.integration.services.imagegen.conftest import Client, Start


def pixels(file: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(file)))


async def test_a_prompt_becomes_a_picture(client: Client) -> None:
    outcome = await client.generate()
    header, data = outcome.of("image")[0], outcome.files[0]

    assert outcome.kinds[-3:] == ["image", "chunk", "summary"]
    assert (header.media_type, header.size_bytes, header.seed) == ("image/png", len(data), 7)
    assert header.sha256 == hashlib.sha256(data).hexdigest()
    assert pixels(data).shape == (32, 32, 3)


async def test_the_summary_tells_what_was_done(client: Client) -> None:
    summary = (await client.generate(steps=2)).summary
    stages = {each.stage for each in summary.stages}

    assert (summary.model, list(summary.seeds), summary.images, summary.steps) == ("tiny_flux", [7], 1, 2)
    assert {"queue", "load", "encode_text", "denoise", "decode", "check", "encode_media"} == stages


async def test_progress_goes_up_to_the_last_step(client: Client) -> None:
    outcome = await client.generate(steps=5)
    steps = [each.step for each in outcome.of("progress")]

    assert steps == sorted(steps)
    assert (steps[-1], outcome.of("progress")[-1].total) == (5, 5)


async def test_no_more_is_told_of_progress_than_the_setting_allows(start: Start) -> None:
    client = await start(progress_per_s=0.001)
    outcome = await client.generate(steps=5, count=2)

    assert (outcome.of("progress"), outcome.summary.images) == ([], 2)


async def test_the_same_seed_gives_the_same_file(client: Client) -> None:
    first, second = await client.generate(), await client.generate()

    assert first.files == second.files


async def test_each_picture_of_a_request_has_its_own_seed(client: Client) -> None:
    outcome = await client.generate(count=3)
    by_seed = {each.seed: file for each, file in zip(outcome.of("image"), outcome.files, strict=True)}

    assert sorted(by_seed) == [7, 8, 9]
    again = await client.generate(seed=9)
    assert runs.apart(pixels(by_seed[9]), pixels(again.files[0])) <= 2


async def test_without_a_seed_the_one_drawn_is_told_and_works_again(client: Client) -> None:
    drawn = await client.generate(seed=None)
    again = await client.generate(seed=drawn.summary.seeds[0])

    assert drawn.files == again.files


async def test_requests_share_forward_passes_and_stay_themselves(client: Client) -> None:
    alone = [await client.generate(seed=seed, steps=20) for seed in range(4)]
    together = await asyncio.gather(*(client.generate(seed=seed, steps=20) for seed in range(4)))

    steps = client.metric("imagegen_batch_size_count", model="tiny_flux")
    pictures = client.metric("imagegen_batch_size_sum", model="tiny_flux")
    assert pictures > steps
    for one, other in zip(alone, together, strict=True):
        assert runs.apart(pixels(one.files[0]), pixels(other.files[0])) <= 2


async def test_a_request_that_wants_no_company_gets_equal_bytes_under_load(client: Client) -> None:
    quiet = await client.generate(exclusive_batch=True, steps=10)
    loaded, *_ = await asyncio.gather(
        client.generate(exclusive_batch=True, steps=10), *(client.generate(seed=seed, steps=10) for seed in range(3))
    )

    assert loaded.files == quiet.files


async def test_a_png_tells_how_to_make_it_again(client: Client) -> None:
    outcome = await client.generate(negative_prompt="a house")
    record = json.loads(Image.open(io.BytesIO(outcome.files[0])).info["atelier"])
    again = await client.generate(
        **{key: record[key] for key in ("prompt", "negative_prompt", "model", "width", "height", "steps", "seed")}
    )

    assert again.files == outcome.files


@pytest.mark.parametrize(
    ("format", "media_type"),
    [(imagegen_pb2.IMAGE_FORMAT_JPEG, "image/jpeg"), (imagegen_pb2.IMAGE_FORMAT_WEBP, "image/webp")],
)
async def test_other_file_formats(client: Client, format: imagegen_pb2.ImageFormat, media_type: str) -> None:
    outcome = await client.generate(format=format, quality=50)

    assert outcome.of("image")[0].media_type == media_type
    assert Image.open(io.BytesIO(outcome.files[0])).get_format_mimetype() == media_type


async def test_adjustments_are_reported(client: Client) -> None:
    outcome = await client.generate(width=100, steps=200)
    used = {each.field: each.used for each in outcome.summary.adjustments}

    assert used == {"width": "64", "steps": "50"}


async def test_a_prompt_that_is_not_read_to_its_end_is_reported_once(client: Client) -> None:
    outcome = await client.generate(prompt="a red lake " * 40, count=2)
    (adjustment,) = outcome.summary.adjustments

    assert (adjustment.field, adjustment.requested, adjustment.used) == ("prompt", "121 tokens", "16 tokens")


async def test_a_dry_run_plans_and_makes_nothing(client: Client) -> None:
    await client.generate()
    outcome = await client.generate(dry_run=True, width=48, count=2)
    plan = outcome.of("plan")[0]

    assert outcome.kinds == ["plan", "summary"]
    assert (plan.model, plan.width, plan.height, plan.count, plan.resident) == ("tiny_flux", 48, 32, 2, True)
    assert plan.eta_seconds > 0
    assert {each.name: each.value for each in plan.choices}["weights"] == "whole"
    assert all(each.reason for each in plan.choices)


async def test_a_tier_trades_quality_for_time(client: Client) -> None:
    usual, fast = [(await client.generate(tier=each)).summary for each in (None, imagegen_pb2.TIER_FAST)]
    best = await client.generate(tier=imagegen_pb2.TIER_BEST, dry_run=True)
    (adjustment,) = best.of("plan")[0].adjustments

    assert (usual.steps, fast.steps, list(fast.adjustments)) == (3, 2, [])
    assert (adjustment.field, adjustment.requested, adjustment.used) == ("tier", "best", "standard")


async def test_the_fast_tier_forecasts_steps_and_decodes_tinily_and_says_so(client: Client) -> None:
    usual = await client.generate(model="many_steps")
    passes = client.metric("imagegen_step_seconds_count", model="many_steps")
    fast = await client.generate(model="many_steps", tier=imagegen_pb2.TIER_FAST, preview_every=3)
    plan = (await client.generate(model="many_steps", tier=imagegen_pb2.TIER_FAST, dry_run=True)).of("plan")[0]
    facts = json.loads(Image.open(io.BytesIO(fast.files[0])).info["atelier"])

    assert (passes, client.metric("imagegen_step_seconds_count", model="many_steps") - passes) == (9, 4)
    assert (fast.of("progress")[-1].step, [each.step for each in fast.of("preview")]) == (9, [3, 6])
    assert {each.name: each.value for each in plan.choices if each.reason.startswith("the tier fast")} == {
        "cache": "1 step in 3 computed",
        "decoder": "tiny",
    }
    assert (facts["cache"]["interval"], facts["decoder"], facts["steps"]) == (3, "tiny", 9)
    assert usual.files != fast.files


@pytest.mark.parametrize("model", ["tiny_flux", "other_flux", "tiny_specialist"])
async def test_a_dry_run_tells_what_of_the_prompt_would_not_be_read(client: Client, model: str) -> None:
    outcome = await client.generate(model=model, dry_run=True, prompt="a red lake " * 40)
    (adjustment,) = outcome.of("plan")[0].adjustments

    assert (adjustment.field, adjustment.requested, adjustment.used) == ("prompt", "121 tokens", "16 tokens")


async def test_previews_come_when_asked_for(client: Client) -> None:
    outcome = await client.generate(preview_every=2, steps=5)

    assert [each.step for each in outcome.of("preview")] == [2, 4]
    assert Image.open(io.BytesIO(outcome.of("preview")[0].jpeg)).format == "JPEG"


async def test_a_model_that_is_not_on_the_device_is_loaded_and_said_so(client: Client) -> None:
    outcome = await client.generate(model="other_flux")
    fractions = [each.fraction for each in outcome.of("loading")]

    assert (fractions[-1], fractions) == (1.0, sorted(fractions))
    assert outcome.summary.model == "other_flux"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
async def test_another_family_works_from_its_row(client: Client) -> None:
    outcome = await client.generate(model="tiny_sdxl", scheduler="dpmpp_2m_karras")

    assert outcome.of("progress")[-1].step == 3
    assert outcome.summary.images == 1


async def test_a_specialist_shares_the_weights_of_its_base(client: Client) -> None:
    plain, special = await client.generate(), await client.generate(model="tiny_specialist")

    assert "loading" not in special.kinds
    assert (special.summary.model, special.files == plain.files) == ("tiny_specialist", False)


async def test_an_adapter_can_be_asked_for(client: Client) -> None:
    asked = await client.generate(adapters=[imagegen_pb2.Adapter(id="tiny_lora")])
    special = await client.generate(model="tiny_specialist")

    assert runs.apart(pixels(asked.files[0]), pixels(special.files[0])) == 0


async def test_a_weight_asked_for_replaces_the_one_of_the_row(client: Client) -> None:
    for weight in (0.0, 0.5, 1.0):
        lora = [imagegen_pb2.Adapter(id="tiny_lora", weight=weight)]
        asked, special = [await client.generate(model=each, adapters=lora) for each in ("tiny_flux", "tiny_specialist")]

        assert runs.apart(pixels(asked.files[0]), pixels(special.files[0])) == 0


async def test_a_dry_run_tells_what_of_the_negative_prompt_would_not_be_read(client: Client) -> None:
    outcome = await client.generate(dry_run=True, negative_prompt="a red lake " * 40)
    (adjustment,) = outcome.of("plan")[0].adjustments

    assert (adjustment.field, adjustment.requested, adjustment.used) == ("negative_prompt", "121 tokens", "16 tokens")


@pytest.mark.parametrize(("strength", "taken"), [(1e-9, 1), (0.5, 2), (0.7, 3), (1.0, 4)])
async def test_a_picture_can_start_from_a_picture(client: Client, strength: float, taken: int) -> None:
    first = await client.generate()
    source = imagegen_pb2.SourceImage(data=first.files[0], strength=strength)
    second = await client.generate(source=source, steps=4, seed=8)
    last = second.of("progress")[-1]

    assert (last.step, last.total, second.summary.steps) == (taken, taken, taken)
    assert second.files != first.files


def png(image: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
@pytest.mark.parametrize("model", ["tiny_flux", "tiny_sdxl"])
async def test_only_the_masked_part_of_a_picture_is_painted_anew(client: Client, model: str) -> None:
    picture = (await client.generate()).files[0]

    async def painted(mask: Pixels, prompt: str) -> Pixels:
        source = imagegen_pb2.SourceImage(data=picture, mask=png(mask), strength=0.8)
        return pixels((await client.generate(model=model, prompt=prompt, source=source)).files[0])

    nothing, everything = np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8)

    assert runs.apart(await painted(nothing, "a red lake"), await painted(nothing, "a blue tree")) == 0
    assert runs.apart(await painted(everything, "a red lake"), await painted(everything, "a blue tree")) > 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
async def test_the_refiner_runs_unless_the_request_says_otherwise(client: Client) -> None:
    usual, on, off = [
        pixels((await client.generate(model="tiny_refined", steps=10, **asked)).files[0])
        for asked in ({}, {"refine": True}, {"refine": False})
    ]
    base = await client.generate(model="tiny_sdxl", steps=10, refine=True)

    assert runs.apart(usual, on) == 0
    assert runs.apart(on, off) > 0
    assert runs.apart(off, pixels(base.files[0])) == 0
    assert [each.field for each in base.summary.adjustments] == ["refine"]


async def test_two_models_are_worked_on_side_by_side(client: Client) -> None:
    outcomes = await asyncio.gather(
        client.generate(steps=10), client.generate(steps=10, model="other_flux"), client.generate(steps=10)
    )

    assert [each.summary.model for each in outcomes] == ["tiny_flux", "other_flux", "tiny_flux"]


async def test_what_happens_is_counted(start: Start) -> None:
    client = await start(warm=())
    await client.generate(count=2, steps=4)

    assert client.metric("imagegen_images_total", model="tiny_flux", outcome="sent") == 2
    assert client.metric("imagegen_steps_total", model="tiny_flux") == 8
    assert client.metric("imagegen_verdicts_total", model="tiny_flux", verdict="accepted") == 2
    assert client.metric("imagegen_model_loads_total", model="tiny_flux", origin="disk") == 1
    assert client.metric("imagegen_model_resident_bytes", model="tiny_flux", tier="device") > 0
