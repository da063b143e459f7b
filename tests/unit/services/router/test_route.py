from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import CollectorRegistry

from servekit.errors import BackendUnavailable, InvalidRequest
from services.router.domain import (
    Ask,
    Finding,
    Judgement,
    JudgeUnavailable,
    Model,
    PromptBlocked,
    Replica,
    Rewriting,
    Screening,
    Selection,
    Source,
    UnknownModel,
    Verdict,
    Weights,
)
from services.router.metrics import RouterMetrics
from services.router.rank import Ranking
from services.router.route import ImageRouter, Policy
from services.router.rules import Blocklist

CAN = frozenset({"text_to_image"})
MODELS = {
    "general": Model("general", capabilities=CAN, is_default=True),
    "people": Model("people", tags=("portrait",), capabilities=CAN | {"negative_prompt"}),
    "painter": Model("painter", capabilities=CAN | {"image_to_image"}),
}
READY = dict.fromkeys(MODELS, Weights.READY)
FOUND = Finding("violence", "violence.gore", Verdict.REWRITE)


@dataclass
class Fleet:
    now: tuple[Replica, ...] = (Replica("imagegen-0", models=MODELS, weights=READY),)
    later: tuple[Replica, ...] | None = None
    explained: list[tuple[str, str]] = field(default_factory=list)

    def replicas(self) -> tuple[Replica, ...]:
        return self.now

    async def refresh(self) -> None:
        self.now = self.now if self.later is None else self.later

    async def explain(self, replica: str, model: str) -> None:
        self.explained.append((replica, model))


@dataclass
class Judge:
    shares: dict[str, float] = field(default_factory=lambda: {"general": 0.1, "people": 0.8, "painter": 0.1})
    defaulted: bool = False
    verdict: Verdict = Verdict.ALLOW
    rewritten: str | None = "safe"
    degraded: str = ""
    down: bool = False
    picky: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def judge(self, prompt: str, candidates: Sequence[Model], default: str) -> Judgement:
        self._maybe_down()
        self.asked.append(tuple(each.id for each in candidates))
        found = () if self.verdict is Verdict.ALLOW else (replace(FOUND, verdict=self.verdict),)
        screening = Screening(self.verdict, Source.RULES, found, degraded=self.degraded)
        return Judgement(screening, self._selection(candidates, default) if candidates and not self.picky else None)

    def _selection(self, candidates: Sequence[Model], default: str) -> Selection:
        shares = {each.id: self.shares[each.id] for each in candidates}
        choice = default if self.defaulted else max(shares, key=lambda name: shares[name])
        return Selection(
            choice, shares, Source.LLM, defaulted=self.defaulted, reason="it suits", degraded=self.degraded
        )

    async def rewrite(self, prompt: str, categories: Collection[str]) -> Rewriting | None:
        self._maybe_down()
        return Rewriting(prompt, self.rewritten, Source.RULES) if self.rewritten else None

    def _maybe_down(self) -> None:
        if self.down:
            raise JudgeUnavailable("rewrite_llm is away")


def router(
    judge: Judge | None = None,
    fleet: Fleet | None = None,
    registry: CollectorRegistry | None = None,
    **policy: bool,
) -> ImageRouter:
    blocklist = Blocklist(["child"], ["nude"], rule_id="r", category="minors")
    ranking = Ranking(weight=0.5, band=0.15)
    metrics = RouterMetrics(registry or CollectorRegistry())
    return ImageRouter(judge or Judge(), fleet or Fleet(), blocklist, Policy(ranking, **policy), metrics)


@dataclass
class Slow(Judge):
    """A judge during whose thinking the servers of `fleet` become `then`."""

    fleet: Fleet = field(default_factory=Fleet)
    then: tuple[Replica, ...] = ()

    async def judge(self, prompt: str, candidates: Sequence[Model], default: str) -> Judgement:
        self.fleet.now = self.then
        return await super().judge(prompt, candidates, default)


async def test_a_request_is_placed_by_what_the_servers_do_once_it_was_judged() -> None:
    first, second = (Replica(f"imagegen-{number}", models=MODELS, weights=READY) for number in range(2))
    fleet = Fleet((first, second))

    decision = await router(Slow(fleet=fleet, then=(replace(first, in_flight=1), second)), fleet).route(
        Ask("a portrait")
    )

    assert decision.replica == "imagegen-1"


async def test_a_request_whose_only_server_left_while_it_was_judged_is_told_to_come_back() -> None:
    fleet = Fleet()

    with pytest.raises(BackendUnavailable, match="no server that has people is ready"):
        await router(Slow(fleet=fleet), fleet).route(Ask("a portrait"))


async def test_the_model_that_suits_best_is_chosen() -> None:
    decision = await router().route(Ask("a portrait"))

    assert (decision.choice.model, decision.replica) == ("people", "imagegen-0")
    assert decision.choice.margin == pytest.approx(0.8 - 0.1 * 0.5)
    assert decision.choice.reason == "it suits"


async def test_a_prompt_is_judged_by_one_question() -> None:
    judge = Judge()

    decision = await router(judge).route(Ask("a portrait"))

    assert judge.asked == [("general", "people", "painter")]
    assert decision.judgement.seconds > 0


async def test_a_named_model_is_taken_and_the_prompt_only_screened() -> None:
    judge = Judge()

    decision = await router(judge).route(Ask("a portrait", model="painter"))

    assert decision.choice.model == "painter"
    assert decision.choice.explicit
    assert judge.asked == [()]


async def test_only_allowed_models_are_candidates() -> None:
    judge = Judge()

    await router(judge).route(Ask("a portrait", allowed=("painter", "general")))

    assert judge.asked == [("general", "painter")]


async def test_a_model_that_lacks_a_required_capability_is_no_candidate() -> None:
    decision = await router().route(Ask("a portrait", required=frozenset({"image_to_image"})))

    assert decision.choice.model == "painter"
    assert decision.choice.reason == "it is the only model that can take the request"


async def test_a_wish_narrows_the_choice_when_it_can() -> None:
    decision = await router().route(Ask("a house", required=CAN, wished=frozenset({"negative_prompt"})))

    assert decision.choice.model == "people"


async def test_a_wish_that_nobody_fulfils_changes_nothing() -> None:
    decision = await router().route(Ask("a portrait", wished=frozenset({"refine"})))

    assert len(decision.choice.scores) == 3


async def test_when_no_allowed_model_is_able_the_error_names_who_is() -> None:
    ask = Ask("a portrait", allowed=("general",), required=frozenset({"image_to_image"}))

    with pytest.raises(InvalidRequest, match="none of general can do image_to_image; painter can"):
        await router().route(ask)


async def test_unknown_allowed_models_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"must name known models \(general, painter, people\), not 'x', 'y'"):
        await router().route(Ask("a portrait", allowed=("x", "general", "y")))


async def test_an_unknown_model_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean people"):
        await router().route(Ask("a portrait", model="poeple"))


def partly_down() -> Fleet:
    """Return a fleet whose server with the painter restarts."""
    (one,) = Fleet().now
    painter = {"painter": MODELS["painter"]}
    others = {name: model for name, model in MODELS.items() if name not in painter}
    return Fleet((replace(one, models=painter, serving=False), replace(one, name="imagegen-1", models=others)))


@pytest.mark.parametrize(
    "ask",
    [
        Ask("a portrait", model="painter"),
        Ask("a portrait", allowed=("painter",)),
        Ask("a portrait", required=frozenset({"image_to_image"})),
    ],
    ids=["named", "allowed", "required"],
)
async def test_a_model_whose_server_is_away_is_not_unknown(ask: Ask) -> None:
    fleet = partly_down()

    with pytest.raises(BackendUnavailable, match="no server that has painter is ready") as caught:
        await router(fleet=fleet).route(ask)

    assert caught.value.retry_after_s
    assert not fleet.explained


@pytest.mark.parametrize("allowed", [(), ("painter", "general", "people")], ids=["any", "listed"])
async def test_the_choice_is_among_the_models_that_are_there(allowed: tuple[str, ...]) -> None:
    judge = Judge()

    decision = await router(judge, partly_down()).route(Ask("a portrait", allowed=allowed))

    assert judge.asked == [("general", "people")]
    assert decision.replica == "imagegen-1"


async def test_the_error_about_unknown_models_names_those_whose_server_is_away() -> None:
    with pytest.raises(InvalidRequest, match=r"known models \(general, painter, people\), not 'x'"):
        await router(fleet=partly_down()).route(Ask("a portrait", allowed=("x", "painter")))


async def test_what_a_serving_server_says_of_a_model_counts() -> None:
    (one,) = Fleet().now
    older = {"general": replace(MODELS["general"], capabilities=frozenset())}
    fleet = Fleet((replace(one, models=older, serving=False), replace(one, name="imagegen-1")))

    decision = await router(fleet=fleet).route(Ask("a house", required=CAN))

    assert {each.model for each in decision.choice.scores} == set(MODELS)


async def test_the_least_busy_server_that_answers_is_asked_about_an_unknown_model() -> None:
    (one,) = Fleet().now
    away, silent = replace(one, name="imagegen-1", serving=False), replace(one, name="imagegen-2", answering=False)
    fleet = Fleet((away, silent, replace(one, name="imagegen-3", in_flight=2), replace(one, in_flight=1)))

    with pytest.raises(UnknownModel):
        await router(fleet=fleet).route(Ask("a portrait", model="poeple"))

    assert fleet.explained == [("imagegen-0", "poeple")]


async def test_the_default_is_taken_when_the_judge_says_so() -> None:
    decision = await router(Judge(defaulted=True)).route(Ask("a thing"))

    assert decision.choice.model == "general"
    assert decision.choice.defaulted


async def test_a_close_model_that_is_loaded_is_preferred_and_explained() -> None:
    fleet = Fleet((Replica("imagegen-0", models=MODELS, weights={**READY, "people": Weights.UNLOADED}),))
    judge = Judge({"general": 0.45, "people": 0.5, "painter": 0.05})

    decision = await router(judge, fleet).route(Ask("a portrait"))

    assert decision.choice.model == "general"
    assert "people suits about as well, but general can start sooner (readiness 1.00 against 0.25)" in (
        decision.choice.reason
    )


async def test_without_the_judge_rules_take_over_and_say_so() -> None:
    decision = await router(Judge(down=True)).route(Ask("a portrait"))

    assert decision.choice.model == "people"
    assert decision.choice.source is Source.RULES
    assert decision.choice.degraded == "rewrite_llm is away; the router's rules chose"
    assert decision.degraded == f"{decision.choice.degraded}; {decision.screening.degraded}"


async def test_a_judge_that_does_not_take_the_candidates_screens_and_rules_choose() -> None:
    decision = await router(Judge(picky=True, verdict=Verdict.BLOCK)).route(Ask("a portrait"))

    assert (decision.choice.model, decision.choice.source) == ("people", Source.RULES)
    assert decision.choice.degraded == "rewrite_llm does not take the candidates; the router's rules chose"
    assert (decision.screening.verdict, decision.screening.complete) == (Verdict.BLOCK, True)


@pytest.mark.parametrize(
    ("judge", "model", "select", "screen"),
    [
        (Judge(), "", 0, 0),
        (Judge(degraded="the language model is loading"), "", 0, 0),
        (Judge(picky=True), "", 1, 0),
        (Judge(down=True), "", 1, 1),
        (Judge(down=True), "people", 0, 1),
    ],
    ids=["judged", "judged by rules of rewrite_llm", "screened only", "down", "down, model named"],
)
async def test_what_was_judged_without_rewrite_llm_is_counted(
    judge: Judge, model: str, select: int, screen: int
) -> None:
    registry = CollectorRegistry()

    await router(judge, registry=registry).route(Ask("a portrait", model=model))

    counted = [registry.get_sample_value("router_degraded_total", {"stage": stage}) for stage in ("select", "screen")]
    assert counted == [select, screen]


async def test_a_fleet_that_seems_down_is_asked_once_more() -> None:
    up = Fleet().now
    fleet = Fleet((replace(up[0], serving=False),), later=up)

    decision = await router(fleet=fleet).route(Ask("a portrait"))

    assert decision.replica == "imagegen-0"


async def test_a_fleet_that_is_down_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="no image server is ready"):
        await router(fleet=Fleet(())).route(Ask("a portrait"))


async def test_servers_without_models_are_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="offer no models"):
        await router(fleet=Fleet((Replica("imagegen-0"),))).route(Ask("a portrait"))


@pytest.mark.parametrize(
    ("verdict", "may_rewrite"), [(Verdict.BLOCK, True), (Verdict.BLOCK, False), (Verdict.REWRITE, False)]
)
def test_what_policy_forbids_is_refused(verdict: Verdict, may_rewrite: bool) -> None:
    screening = Screening(verdict, Source.RULES, (FOUND,))

    with pytest.raises(PromptBlocked) as caught:
        router().enforce(Ask("blood", may_rewrite=may_rewrite), screening)

    assert caught.value.metadata() == {"rule_id": "violence.gore", "category": "violence"}


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.REWRITE])
def test_what_policy_allows_passes(verdict: Verdict) -> None:
    router().enforce(Ask("blood"), Screening(verdict, Source.RULES))


def test_an_unscreened_prompt_passes_unless_screening_is_required() -> None:
    unscreened = Screening(Verdict.ALLOW, Source.RULES, complete=False)
    router().enforce(Ask("a house"), unscreened)

    with pytest.raises(BackendUnavailable, match="could not be screened"):
        router(require_screening=True).enforce(Ask("a house"), unscreened)


async def test_a_safe_prompt_is_not_rewritten() -> None:
    assert await router().rewrite(Ask("a house"), Screening(Verdict.ALLOW, Source.RULES)) is None


async def test_an_unsafe_prompt_is_rewritten() -> None:
    rewriting = await router().rewrite(Ask("blood"), Screening(Verdict.REWRITE, Source.RULES, (FOUND,)))

    assert rewriting is not None
    assert rewriting.prompt == "safe"


async def test_an_unsafe_prompt_without_a_safe_form_is_refused() -> None:
    with pytest.raises(PromptBlocked, match="no safe form"):
        await router(Judge(rewritten=None)).rewrite(Ask("blood"), Screening(Verdict.REWRITE, Source.RULES, (FOUND,)))


async def test_an_unsafe_prompt_never_passes_because_the_judge_is_down() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be rewritten now"):
        await router(Judge(down=True)).rewrite(Ask("blood"), Screening(Verdict.REWRITE, Source.RULES, (FOUND,)))


def test_the_successor_is_another_replica_with_the_model() -> None:
    (first,) = Fleet().now
    fleet = Fleet((first, replace(first, name="imagegen-1"), replace(first, name="imagegen-2", models={})))

    assert router(fleet=fleet).successor("people", ["imagegen-0"]) == "imagegen-1"
    assert router(fleet=fleet).successor("people", ["imagegen-0", "imagegen-1"]) is None
