import pytest

from services.rewrite_llm.safety import rows
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.settings import RewriteSettings


@pytest.fixture(scope="session")
def categories() -> tuple[rows.Category, ...]:
    return rows.load(RewriteSettings().safety_dir)


@pytest.fixture(scope="session")
def rule_set(categories: tuple[rows.Category, ...]) -> RuleSet:
    return RuleSet(categories, Policy({}))
