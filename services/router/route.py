"""Decides about an image request: which model, which replica, and whether the prompt may be used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from time import perf_counter
from typing import TypeAlias

from servekit.errors import BackendUnavailable, InvalidRequest, Violation
from services.router import place, rules
from services.router.domain import (
    Ask,
    Choice,
    Decision,
    Judgement,
    JudgeUnavailable,
    Model,
    PromptBlocked,
    Replica,
    Rewriting,
    Score,
    Screening,
    Selection,
    Source,
    UnknownModel,
    Verdict,
)
from services.router.metrics import RouterMetrics
from services.router.ports import Judge, Replicas
from services.router.rank import Ranking

_RETRY_AFTER_S = 2.0

Catalog: TypeAlias = dict[str, Model]
"""Models by id, in catalog order."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided."""

    ranking: Ranking
    require_screening: bool = False
    """Refuse a prompt that could not be screened, instead of relying on what imagegen checks in a finished picture."""


class ImageRouter:
    """Routes image requests. Knows the servers and the judge only through their ports."""

    def __init__(
        self, judge: Judge, replicas: Replicas, blocklist: rules.Blocklist, policy: Policy, metrics: RouterMetrics
    ) -> None:
        self._judge = judge
        self._replicas = replicas
        self._blocklist = blocklist
        self._policy = policy
        self._metrics = metrics

    async def route(self, ask: Ask) -> Decision:
        """Choose model and replica, and have the prompt screened.

        Raises `InvalidRequest`, `UnknownModel` or `BackendUnavailable` if no model can take the request, or what a
        server says of a model that none offers. A prompt that policy forbids is not an error yet, see `enforce`.
        """
        began = perf_counter()
        replicas = await self._serving()
        ready = _catalog(each for each in replicas if each.serving)
        known = _catalog(each for each in replicas if not each.serving) | ready
        if ask.model and ask.model not in known:
            await self._replicas.explain(place.idlest(replicas), ask.model)
        candidates = _candidates(ask, known, ready)
        judgement = await self._judged(ask.prompt, candidates if len(candidates) > 1 else ())
        choice = self._choose(ask, candidates, replicas, judgement.selection)
        # As they are now: whoever was judged at the same time may have been placed meanwhile, or a server have gone.
        replica = place.pick(self._replicas.replicas(), choice.model)
        if replica is None:
            raise BackendUnavailable(f"no server that has {choice.model} is ready", retry_after_s=_RETRY_AFTER_S)
        decision = Decision(choice, replica.name, judgement, perf_counter() - began)
        self._count(decision)
        return decision

    def enforce(self, ask: Ask, screening: Screening) -> None:
        """Raise `PromptBlocked` if the prompt may not be used, `BackendUnavailable` if nobody could tell."""
        if screening.verdict is Verdict.BLOCK:
            raise self._blocked("policy forbids this prompt", screening)
        if screening.verdict is Verdict.REWRITE and not ask.may_rewrite:
            raise self._blocked("the prompt is unsafe and the request forbids rewriting", screening)
        if not screening.complete and self._policy.require_screening:
            raise BackendUnavailable("the prompt could not be screened", retry_after_s=_RETRY_AFTER_S)

    async def rewrite(self, ask: Ask, screening: Screening) -> Rewriting | None:
        """Return the safe form of a prompt that needs one, None for one that does not.

        Raises `PromptBlocked` if there is no safe form. A prompt known to be unsafe never passes as it is, so
        `BackendUnavailable` if it cannot be rewritten now.
        """
        if screening.verdict is not Verdict.REWRITE:
            return None
        categories = tuple(dict.fromkeys(finding.category for finding in screening.findings))
        try:
            began = perf_counter()
            rewriting = await self._judge.rewrite(ask.prompt, categories)
        except JudgeUnavailable as error:
            message = f"the prompt is unsafe as it is and cannot be rewritten now: {error}"
            raise BackendUnavailable(message, retry_after_s=_RETRY_AFTER_S) from error
        if rewriting is None:
            raise self._blocked("the prompt is unsafe and no safe form of it was found", screening)
        for category in categories:
            self._metrics.rewrites.labels(category).inc()
        return replace(rewriting, seconds=perf_counter() - began)

    def successor(self, model: str, lost: Sequence[str]) -> str | None:
        """Return the replica that takes `model` over from the last of the `lost` ones; None if there is none."""
        replica = place.pick(self._replicas.replicas(), model, without=lost)
        if replica is None:
            return None
        self._metrics.retries.labels(lost[-1]).inc()
        return replica.name

    async def _serving(self) -> tuple[Replica, ...]:
        replicas = self._replicas.replicas()
        if not any(each.serving for each in replicas):
            await self._replicas.refresh()
            replicas = self._replicas.replicas()
        if not any(each.serving for each in replicas):
            raise BackendUnavailable("no image server is ready", retry_after_s=_RETRY_AFTER_S)
        if not any(each.models for each in replicas):
            raise BackendUnavailable("the image servers offer no models", retry_after_s=_RETRY_AFTER_S)
        return replicas

    async def _judged(self, prompt: str, candidates: Sequence[Model]) -> Judgement:
        """Ask about the prompt and, if there are candidates, how well each suits it."""
        began = perf_counter()
        default = next((each.id for each in candidates if each.is_default), candidates[0].id if candidates else "")
        why = "rewrite_llm does not take the candidates"
        try:
            judgement = await self._judge.judge(prompt, candidates, default)
        except JudgeUnavailable as error:
            why = str(error)
            judgement = Judgement(self._screened_by_rules(prompt, why))
        if candidates and judgement.selection is None:
            judgement = replace(judgement, selection=self._selected_by_rules(prompt, candidates, default, why))
        return replace(judgement, seconds=perf_counter() - began)

    def _screened_by_rules(self, prompt: str, why: str) -> Screening:
        self._metrics.degraded.labels("screen").inc()
        return self._blocklist.screen(prompt, why)

    def _selected_by_rules(self, prompt: str, candidates: Sequence[Model], default: str, why: str) -> Selection:
        self._metrics.degraded.labels("select").inc()
        selection = rules.select(prompt, candidates, default)
        return replace(selection, degraded=f"{why}; the router's rules chose")

    def _choose(
        self, ask: Ask, candidates: Sequence[Model], replicas: Sequence[Replica], selection: Selection | None
    ) -> Choice:
        readiness = {each.id: place.best_readiness(replicas, each.id) for each in candidates}
        if selection is None:
            return _only(ask, candidates[0], readiness)
        scores = self._policy.ranking.rank(selection.shares, readiness)
        model = selection.choice if selection.defaulted else scores[0].model
        return Choice(
            model=model,
            scores=scores,
            source=selection.source,
            reason=selection.reason if model == selection.choice else _sooner(model, selection.choice, readiness),
            defaulted=selection.defaulted,
            degraded=selection.degraded,
        )

    def _blocked(self, message: str, screening: Screening) -> PromptBlocked:
        finding = screening.findings[0] if screening.findings else None
        rule_id, category = (finding.rule_id, finding.category) if finding else ("unknown", "unknown")
        self._metrics.blocked.labels(category).inc()
        return PromptBlocked(f"{message} (category {category})", rule_id=rule_id, category=category)

    def _count(self, decision: Decision) -> None:
        choice, metrics = decision.choice, self._metrics
        kind = "explicit" if choice.explicit else "defaulted" if choice.defaulted else "chosen"
        metrics.decisions.labels(choice.model, choice.source.name.lower(), kind).inc()
        metrics.decision_seconds.observe(decision.seconds)
        if not choice.explicit:
            metrics.margin.observe(choice.margin)


def _catalog(replicas: Iterable[Replica]) -> Catalog:
    """Return what the replicas list; where they differ, the first one counts."""
    return {model.id: model for each in reversed([*replicas]) for model in each.models.values()}


def _candidates(ask: Ask, known: Catalog, ready: Catalog) -> list[Model]:
    """Return the `ready` models that may take the request; raises if there is none.

    What only a server that is away has is `known`: the same request may succeed when that is back.
    """
    able = _named(ask.model, known) if ask.model else _able(ask, known)
    here = [model for model in ready.values() if model.id in able]
    if not here:
        raise BackendUnavailable(f"no server that has {', '.join(able)} is ready", retry_after_s=_RETRY_AFTER_S)
    return [model for model in here if ask.wished <= model.capabilities] or here


def _named(name: str, known: Catalog) -> Catalog:
    if name not in known:
        raise UnknownModel("model", name, nearest=get_close_matches(name, known, n=3, cutoff=0.4))
    return {name: known[name]}


def _able(ask: Ask, known: Catalog) -> Catalog:
    unknown = [name for name in ask.allowed if name not in known]
    if unknown:
        names = ", ".join(sorted(known))
        description = f"must name known models ({names}), not {', '.join(map(repr, unknown))}"
        raise InvalidRequest([Violation(f"{ask.at}allowed_models", description)])
    allowed = [model for model in known.values() if not ask.allowed or model.id in ask.allowed]
    able = {model.id: model for model in allowed if ask.required <= model.capabilities}
    if not able:
        field = "allowed_models" if ask.allowed else "source"  # nothing else narrows the choice
        raise InvalidRequest([Violation(ask.at + field, _nobody(ask, allowed, known))])
    return able


def _nobody(ask: Ask, allowed: Sequence[Model], known: Catalog) -> str:
    needs = ", ".join(sorted(ask.required))
    elsewhere = [model.id for model in known.values() if ask.required <= model.capabilities]
    hint = f"; {', '.join(elsewhere)} can" if elsewhere else "; no model here can"
    return f"none of {', '.join(model.id for model in allowed)} can do {needs}{hint}"


def _only(ask: Ask, model: Model, readiness: dict[str, float]) -> Choice:
    explicit = bool(ask.model)
    reason = "the caller named the model" if explicit else "it is the only model that can take the request"
    score = Score(model.id, 1.0, 1.0, readiness[model.id])
    return Choice(model.id, (score,), Source.RULES, reason, explicit=explicit)


def _sooner(model: str, preferred: str, readiness: dict[str, float]) -> str:
    return (
        f"{preferred} suits about as well, but {model} can start sooner"
        f" (readiness {readiness[model]:.2f} against {readiness[preferred]:.2f})"
    )
