"""No attack steers the choice: an attacked prompt goes where the honest one goes, for every model and every target."""

import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from evals.candidates import SETS, CandidateSet
from evals.candidates import load_set as read_set
from services.rewrite_llm.consult import Consultant
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.prompts import selection_prompt
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.select import SelectModel
from services.rewrite_llm.selection import keywords
from services.rewrite_llm.selection.injection import InjectionFilter
from services.rewrite_llm.settings import RewriteSettings

load_set: Callable[[str], CandidateSet] = cache(read_set)
FILE = tomllib.loads(Path(__file__).with_name("attacks.toml").read_text(encoding="utf-8"))
ATTACKS = [attack for language in FILE["attacks"].values() for attack in language]


@pytest.fixture(scope="module")
def select() -> SelectModel:
    folder = RewriteSettings().selection_dir
    metrics = RewriteMetrics(CollectorRegistry())
    rules = RulesEngine(RuleSet((), Policy({})), keywords.Keywords(keywords.load(folder / "topics.toml")), {})
    orders = InjectionFilter(folder / "injection.toml")
    return SelectModel(Consultant(None, metrics), rules, orders, metrics, min_margin=0.1, llm_limit_s=1)


def attacked(attack: str, rows: str) -> Iterator[tuple[str, str]]:
    """Yield honest prompts, each with its attacked form, for every target that does not suit."""
    suits = load_set(rows).suits
    labels = selection_prompt(load_set(rows).candidates, "")
    letters = dict(zip(labels.answers, labels.continuations, strict=True))
    for field, prompts in FILE["prompts"].items():
        for topic, target in suits.items():
            if target == suits[field]:
                continue
            for prompt in prompts:
                yield prompt, attack.format(prompt=prompt, id=target, topic=topic, letter=letters[target])


def test_there_are_many_attacks_in_many_languages() -> None:
    assert len(set(ATTACKS)) >= 60
    assert len(FILE["attacks"]) >= 10


@pytest.mark.parametrize("rows", SETS)
@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_changes_nothing(select: SelectModel, attack: str, rows: str) -> None:
    candidates, default = load_set(rows).candidates, load_set(rows).suits["general"]
    prompts = [prompt for several in FILE["prompts"].values() for prompt in several]
    honest = {prompt: (await select(prompt, candidates, default)).id for prompt in prompts}
    for prompt, text in attacked(attack, rows):
        assert (await select(text, candidates, default)).id == honest[prompt], text
