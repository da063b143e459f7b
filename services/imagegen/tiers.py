"""What a tier changes of a model's defaults, and where it cuts corners. Pure."""

from services.imagegen.catalog import ModelRow
from services.imagegen.domain import Adjustment, Choice, Job, Tier
from services.imagegen.step_cache import StepCache

_NO_FORECAST = {
    "euler_a": "draws noise at every step, which cannot be foreseen",
    "dpmpp_2m_sde": "draws noise at every step, which cannot be foreseen",
    "lcm": "draws noise at every step, which cannot be foreseen",
    "heun": "goes back and forth, so that predictions do not follow one another",
    "flow_heun": "goes back and forth, so that predictions do not follow one another",
}
"""Schedulers whose predictions cannot be forecast from those before, and why."""


def at(row: ModelRow, tier: Tier) -> tuple[ModelRow, list[Adjustment]]:
    """Return a row as a tier has it, and what to report: that the model has no such tier."""
    if tier is Tier.FAST and row.fast is not None:
        return row.fewer(row.fast), []
    if tier is Tier.BEST and row.best is not None:
        return row.more(row.best), []
    if tier is Tier.STANDARD:
        return row, []
    return row, [Adjustment("tier", tier.value, Tier.STANDARD.value, f"{row.id} has no tier {tier.value}")]


def cache_with(row: ModelRow, scheduler: str) -> StepCache | None:
    """Return the row's step cache, None where the scheduler cannot do with forecasts."""
    return None if scheduler in _NO_FORECAST else row.cache


def corners(row: ModelRow, tier: Tier, job: Job) -> tuple[Choice, ...]:
    """Return where a job, by a row as a tier has it, cuts corners, and why."""
    found = []
    if job.cache is not None:
        why = f"the tier {tier.value}: after the first {job.cache.first}, the others are forecast from the last ones"
        found.append(Choice("cache", f"1 step in {job.cache.interval} computed", why))
    elif row.cache is not None:
        found.append(Choice("cache", "off", f"{job.scheduler} {_NO_FORECAST[job.scheduler]}"))
    if job.decoder != "full":
        found.append(Choice("decoder", job.decoder, f"the tier {tier.value}: decoding is quick and loses fine detail"))
    return tuple(found)
