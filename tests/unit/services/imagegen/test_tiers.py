from typing import Any

import pytest

from services.imagegen.domain import Tier
from services.imagegen.tiers import at
from tests.unit.services.imagegen import rows

FAST, BEST = {"steps": 2, "guided": 0.5}, {"steps": 9, "refine": True}


@pytest.mark.parametrize(
    ("tier", "steps", "guided", "refined"),
    [(Tier.FAST, 2, 0.5, False), (Tier.STANDARD, 3, 1.0, False), (Tier.BEST, 9, 1.0, True)],
)
def test_a_tier_has_its_own_defaults(tier: Tier, steps: int, guided: float, refined: bool) -> None:
    row, told = at(rows.row(rows.REFINED, refine=False, fast=FAST, best=BEST), tier)

    assert (row.steps.default, row.guided, row.refine, told) == (steps, guided, refined, [])


@pytest.mark.parametrize("tier", [Tier.FAST, Tier.BEST])
def test_a_tier_that_the_model_does_not_have_is_reported(tier: Tier) -> None:
    row, told = at(rows.row(rows.SDXL), tier)

    assert row == rows.row(rows.SDXL)
    assert [(each.field, each.requested, each.used) for each in told] == [("tier", tier.value, "standard")]


@pytest.mark.parametrize(
    ("tier", "steps", "taken"),
    [("fast", 40, 3), ("best", 1, 3), ("best", 90, 50), ("fast", 1, 2)],
    ids=["fast is no slower", "best is no faster", "no more than the model takes", "no fewer than the model takes"],
)
def test_a_tier_stays_within_what_the_model_does(tier: str, steps: int, taken: int) -> None:
    changes: dict[str, Any] = {tier: {"steps": steps}, "steps": {"default": 3, "min": 2, "max": 50}}

    assert at(rows.row(rows.SDXL, **changes), Tier(tier))[0].steps.default == taken
