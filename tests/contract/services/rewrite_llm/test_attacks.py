"""No attack moves the language model either: what it reads of an attacked prompt is the honest one."""

from pathlib import Path

import pytest

from evals.candidates import load_set
from evals.judges import ServiceJudge, load_engine
from services.rewrite_llm.settings import RewriteSettings
from tests.unit.services.rewrite_llm.selection.test_attacks import ATTACKS, attacked


@pytest.fixture(scope="module")
def judge(one_thread: None) -> ServiceJudge:
    return ServiceJudge(RewriteSettings(), load_engine(Path("models/sketch-qwen")))


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_does_not_win_the_language_model_over(judge: ServiceJudge, attack: str) -> None:
    candidates, default = load_set("studio").candidates, load_set("studio").suits["general"]
    pairs = list(attacked(attack, "studio"))
    for prompt, text in pairs[:: len(pairs) // 2]:
        honest, steered = [await judge.choose(each, candidates, default) for each in (prompt, text)]
        assert steered == honest, text
