"""What a tier changes of a model's defaults. Pure."""

from services.imagegen.catalog import ModelRow
from services.imagegen.domain import Adjustment, Tier


def at(row: ModelRow, tier: Tier) -> tuple[ModelRow, list[Adjustment]]:
    """Return a row as a tier has it, and what to report: that the model has no such tier."""
    if tier is Tier.FAST and row.fast is not None:
        return row.fewer(row.fast), []
    if tier is Tier.BEST and row.best is not None:
        return row.more(row.best), []
    if tier is Tier.STANDARD:
        return row, []
    return row, [Adjustment("tier", tier.value, Tier.STANDARD.value, f"{row.id} has no tier {tier.value}")]
