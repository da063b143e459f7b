"""Fits a request to a model: defaults filled in, values clamped, every change reported. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from servekit.errors import InvalidRequest, PermissionDenied, Violation
from services.imagegen.catalog import AdapterRow, Catalog, ModelRow, Span
from services.imagegen.domain import (
    AdapterChoice,
    Adjustment,
    Choice,
    GenerationRequest,
    Job,
    Priority,
    SafetyPolicy,
)
from services.imagegen.tiers import at, cache_with, corners

OTHER_PASSES = 2
"""Forward passes that encoding and decoding take as long as: 1.6 of SDXL's on a CPU, 3.4 of the bundled model's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the deployment allows."""

    max_count: int = 8
    max_side: int | None = None
    """Longest side of a picture in pixels; None leaves it to the model."""
    safety: SafetyPolicy = SafetyPolicy.BLOCK
    """What happens to flagged pictures unless the request says."""
    may_ignore_safety: bool = False
    judges: bool = True
    """Whether there is a classifier to judge pictures by."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every value settled."""

    row: ModelRow
    request: GenerationRequest
    first: Job
    """The job of the first picture."""
    safety: SafetyPolicy
    priority: Priority
    adjustments: tuple[Adjustment, ...]

    @property
    def work(self) -> float:
        """Amount of work of one picture, proportional to time: forward passes x megapixels.

        Encoding the prompt and decoding the picture count as `OTHER_PASSES`.
        """
        job, steps = self.first, self.first.taken
        guided = _guided_steps(self.row, job)
        computed = range(steps) if job.cache is None else job.cache.computed(steps)
        passes = sum(2 if step < guided else 1 for step in computed)
        return (passes + OTHER_PASSES) * job.width * job.height / 1e6

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Where the tier cuts corners, and why."""
        return corners(self.row, self.request.tier, self.first)

    def job(self, index: int) -> Job:
        """Return the job of picture `index`."""
        return replace(self.first, seed=self.first.seed + index)


def resolve(
    request: GenerationRequest, row: ModelRow, catalog: Catalog, limits: Limits, random_seed: Callable[[], int]
) -> Plan:
    """Return the plan of a request on a model.

    Raises `InvalidRequest` with everything that the model cannot do at all, `PermissionDenied` if the safety check may
    not be ignored.
    """
    violations = [*_count(request, limits), *_scheduler(request, row), *_adapters(request, row, catalog)]
    violations += _source(request, row)
    if violations:
        raise InvalidRequest(violations)
    if request.safety is SafetyPolicy.IGNORE and not limits.may_ignore_safety:
        refusal = "this server does not let callers ignore the safety check"
        raise PermissionDenied(refusal, metadata={"cause": "safety_policy"})
    row, adjustments = at(row, request.tier)
    safety = request.safety or limits.safety
    width, height = _size(request, row, limits, adjustments)
    scheduler = request.scheduler or next(iter(row.schedulers), "")
    first = Job(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=width,
        height=height,
        steps=round(_clamped("steps", request.steps, row.steps, adjustments)),
        guidance=_clamped("guidance", request.guidance, row.guidance, adjustments),
        seed=random_seed() if request.seed is None else request.seed,
        scheduler=scheduler,
        adapters=_worn(request, row),
        source=request.source,
        refine=_refine(request, row, adjustments),
        guided=row.guided,
        cache=cache_with(row, scheduler),
        decoder=row.decoder,
        alone=request.exclusive_batch,
        preview_every=_preview_every(request, safety, limits, adjustments),
    )
    first = replace(first, negative_prompt=_negative(first, row, adjustments))
    priority = _priority(request, adjustments)
    adjustments += _unjudged(request, limits)
    return Plan(row, request, first, safety, priority, tuple(adjustments))


def refit(
    request: GenerationRequest,
    job: Job,
    row: ModelRow,
    catalog: Catalog,
    limits: Limits,
    random_seed: Callable[[], int],
) -> Plan:
    """Return the plan of a job on the model that takes over.

    Prompt and seed are the job's, size and source those asked for, adapters those that fit. The rest is the model's
    own. What was asked for and is not kept is among the adjustments.
    """
    fitting = {each.id for each in _fitting(row, catalog)}
    kept = tuple(each for each in request.adapters if each.id in fitting)
    own = replace(request, prompt=job.prompt, seed=job.seed, steps=None, guidance=None, scheduler="", adapters=kept)
    plan = resolve(own, row, catalog, limits, random_seed)
    given_up = [*_own_instead(request, plan.first, row), *_left_behind(request, fitting, row)]
    return replace(plan, adjustments=(*plan.adjustments, *given_up))


def unread(row: ModelRow, tokens: int, field: Literal["prompt", "negative_prompt"] = "prompt") -> list[Adjustment]:
    """Return what to report of a prompt of so many tokens: what the model does not read."""
    if tokens <= row.max_tokens:
        return []
    reason = f"{row.id} reads {row.max_tokens} tokens; the rest of the {field.replace('_', ' ')} has no effect"
    return [Adjustment(field, f"{tokens} tokens", f"{row.max_tokens} tokens", reason)]


def _own_instead(request: GenerationRequest, used: Job, row: ModelRow) -> list[Adjustment]:
    asked: dict[str, tuple[float | str | None, float | str]] = {
        "steps": (request.steps, used.steps),
        "guidance": (request.guidance, used.guidance),
        "scheduler": (request.scheduler or None, used.scheduler),
    }
    return [
        Adjustment(field, str(wanted), str(taken), f"{row.id} took over with its own")
        for field, (wanted, taken) in asked.items()
        if wanted is not None and wanted != taken
    ]


def _left_behind(request: GenerationRequest, fitting: Collection[str], row: ModelRow) -> list[Adjustment]:
    return [
        Adjustment(f"adapters[{index}].id", each.id, "", f"{row.id} took over and has no such adapter")
        for index, each in enumerate(request.adapters)
        if each.id not in fitting
    ]


def _count(request: GenerationRequest, limits: Limits) -> list[Violation]:
    if request.count <= limits.max_count:
        return []
    return [Violation("count", f"must be 1 to {limits.max_count}, not {request.count}")]


def _scheduler(request: GenerationRequest, row: ModelRow) -> list[Violation]:
    if not request.scheduler or request.scheduler in row.schedulers:
        return []
    offered = ", ".join(row.schedulers) or "none by name; leave it empty"
    return [Violation("scheduler", f"{row.id} offers {offered}")]


def _adapters(request: GenerationRequest, row: ModelRow, catalog: Catalog) -> list[Violation]:
    fitting = [each.id for each in _fitting(row, catalog)]
    offered = ", ".join(fitting) or "no adapters"
    return [
        Violation(f"adapters[{index}].id", f"no adapter {each.id!r} for {row.id}, which takes {offered}")
        for index, each in enumerate(request.adapters)
        if each.id not in fitting
    ]


def _fitting(row: ModelRow, catalog: Catalog) -> list[AdapterRow]:
    """Return the adapters that a model takes: those of its weights."""
    return [each for each in catalog.adapters.values() if each.base == row.weights and row.can("adapters")]


def _worn(request: GenerationRequest, row: ModelRow) -> tuple[AdapterChoice, ...]:
    """Return the adapters of the row and of the request, each once: a weight asked for replaces the row's."""
    weights = dict.fromkeys(row.adapters, 1.0) | {each.id: each.weight for each in request.adapters}
    return tuple(AdapterChoice(*each) for each in weights.items())


def _source(request: GenerationRequest, row: ModelRow) -> list[Violation]:
    if request.source is None:
        return []
    violations = []
    if not row.can("image_to_image"):
        violations.append(Violation("source", f"{row.id} cannot start from a picture; leave it unset"))
    if request.source.mask is not None and not row.can("inpainting"):
        violations.append(Violation("source.mask", f"{row.id} cannot inpaint; leave it empty"))
    return violations


def _size(request: GenerationRequest, row: ModelRow, limits: Limits, adjustments: list[Adjustment]) -> tuple[int, int]:
    """Shrink to the longest side allowed with the proportions kept, then clamp and round each side.

    Without a size asked for, a picture that starts from another has that one's.
    """
    usual = row.size.default if request.source is None else request.source.pixels.shape[1::-1]
    asked = (request.width or usual[0], request.height or usual[1])
    longest = min(row.size.max, limits.max_side or row.size.max)
    grid = row.size.multiple_of
    longest = max(longest - longest % grid, row.size.min)
    shrink = min(1.0, longest / max(asked))
    used = [min(max(round(side * shrink / grid) * grid, row.size.min), longest) for side in asked]
    reason = f"{row.id} makes {row.size.min} to {longest} pixels a side here, in steps of {grid}"
    for field, requested, side in zip(("width", "height"), (request.width, request.height), used, strict=True):
        if requested is not None and requested != side:
            adjustments.append(Adjustment(field, str(requested), str(side), reason))
    return used[0], used[1]


def _clamped(field: str, asked: float | None, span: Span, adjustments: list[Adjustment]) -> float:
    if asked is None:
        return span.default
    used = min(max(asked, span.min), span.max)
    if used != asked:
        reason = f"the model takes {span.min:g} to {span.max:g}"
        adjustments.append(Adjustment(field, f"{asked:g}", f"{used:g}", reason))
    return used


def _priority(request: GenerationRequest, adjustments: list[Adjustment]) -> Priority:
    used = min(request.priority, request.priority_ceiling)
    if used != request.priority:
        reason = "the caller may have no higher priority"
        adjustments.append(Adjustment("priority", request.priority.name.lower(), used.name.lower(), reason))
    return used


def _unjudged(request: GenerationRequest, limits: Limits) -> list[Adjustment]:
    """Say so where a request relies on a check that there is not."""
    if limits.judges or request.safety in (None, SafetyPolicy.IGNORE):
        return []
    reason = "this server has no safety classifier (setting nsfw_model), so its pictures are not judged"
    return [Adjustment("safety", request.safety.value, SafetyPolicy.IGNORE.value, reason)]


def _preview_every(
    request: GenerationRequest, safety: SafetyPolicy, limits: Limits, adjustments: list[Adjustment]
) -> int:
    """Return how often to send a preview: never where it might show what the finished picture may not."""
    if request.preview_every and limits.judges and safety is SafetyPolicy.BLOCK:
        reason = "previews are not judged, so none is sent where flagged pictures are blocked"
        adjustments.append(Adjustment("preview_every", str(request.preview_every), "0", reason))
        return 0
    return request.preview_every


def _refine(request: GenerationRequest, row: ModelRow, adjustments: list[Adjustment]) -> bool:
    wanted = row.refine if request.refine is None else request.refine
    if wanted and row.refiner is not None and request.source is None:
        return True
    if request.refine:
        what = f"{row.id} has no refiner" if row.refiner is None else "a picture made from another is not refined"
        adjustments.append(Adjustment("refine", "true", "false", what))
    return False


def _guided_steps(row: ModelRow, job: Job) -> int:
    """Return how many steps, the first ones, take a second pass, which alone reads the negative prompt."""
    return round(job.guided * job.taken) if row.cfg == "true" and job.guidance > 1 else 0


def _negative(job: Job, row: ModelRow, adjustments: list[Adjustment]) -> str:
    """Return the negative prompt of a job, nothing where no step would read it."""
    able = row.can("negative_prompt")
    if not job.negative_prompt or (able and _guided_steps(row, job)):
        return job.negative_prompt
    reason = f"{row.id} has no negative prompt"
    if able:
        reason += f" without a second pass, which no step takes at guidance {job.guidance:g}"
    adjustments.append(Adjustment("negative_prompt", job.negative_prompt, "", reason))
    return ""
