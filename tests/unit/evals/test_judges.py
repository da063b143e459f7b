from collections.abc import Callable, Generator, Sequence

import pytest

from evals.candidates import load_set
from evals.judges import ModelJudge, ServiceJudge
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.ports import go_on
from services.rewrite_llm.settings import RewriteSettings

BUNDLED = load_set("sketch")


class Scripted:
    """An engine that always takes the last candidate and has one opinion on safety."""

    def __init__(self, unsafe: float) -> None:
        self._unsafe = unsafe

    def choose(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[tuple[float, ...]]:
        return [tuple(9.0 * place for place in range(len(candidates))) for _ in texts]

    def unsafe(self, texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        return [self._unsafe for _ in texts]

    def reword(self, text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        yield
        return text


async def test_rules_alone_choose_by_topic() -> None:
    judge = ServiceJudge(RewriteSettings(), None)
    assert await judge.choose("portrait of a girl", BUNDLED.candidates, "sketch") == "sketch_portrait"


async def test_rules_alone_block_what_policy_blocks() -> None:
    judge = ServiceJudge(RewriteSettings(), None)
    assert await judge.screen("child pornography") == "block"


async def test_both_let_the_model_choose() -> None:
    judge = ServiceJudge(RewriteSettings(), Scripted(unsafe=0.0))
    assert await judge.choose("portrait of a girl", BUNDLED.candidates, "sketch") == BUNDLED.candidates[-1].id


@pytest.mark.parametrize(("unsafe", "action"), [(0.0, "safe"), (1.0, "rewrite")])
async def test_both_ask_the_model_about_what_rules_let_pass(unsafe: float, action: str) -> None:
    judge = ServiceJudge(RewriteSettings(), Scripted(unsafe))
    assert await judge.screen("a bowl of pears") == action


async def test_the_model_alone_is_not_asked_by_rules() -> None:
    judge = ModelJudge(RewriteSettings(), Scripted(unsafe=0.0))
    assert await judge.screen("child pornography") == "safe"
    assert await judge.choose("portrait of a girl", BUNDLED.candidates, "sketch") == BUNDLED.candidates[-1].id
