from pathlib import Path

import pytest

from services.rewrite_llm.domain import Verdict
from services.rewrite_llm.safety import rows

LISTS = '[lists]\nmetal = ["iron", "@noble"]\nnoble = ["gold"]\n[additions]\nen = ", shiny"\n'
CATEGORY = """
category = "metals"
title = "metals"
verdict = "rewrite"
innocent = ["iron man"]
[[rule]]
id = "any"
near = ["@noble"]
[rule.terms]
en = ["tin", "@metal"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lists.toml").write_text(LISTS)
    (tmp_path / "metals.toml").write_text(CATEGORY)
    return tmp_path


def test_names_of_lists_become_their_phrases(folder: Path) -> None:
    (metals,) = rows.load(folder)
    assert metals.rule[0].terms == {"en": ("tin", "iron", "gold")}
    assert metals.rule[0].near == ("gold",)
    assert metals.verdict is Verdict.REWRITE


def test_names_of_lists_become_their_phrases_among_what_is_innocent(folder: Path) -> None:
    (folder / "metals.toml").write_text('negated = ["no tin", "@noble"]\n' + CATEGORY)
    (metals,) = rows.load(folder)
    assert (metals.innocent, metals.negated) == (("iron man",), ("no tin", "gold"))


def test_additions_are_read(folder: Path) -> None:
    assert rows.shared(folder).additions == {"en": ", shiny"}


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ('verdict = "maybe"', 'verdict = "rewrite"', "allowed are allow, rewrite, block"),
        ('tittle = "metals"', 'title = "metals"', "tittle"),
        ("unles_near = []", 'near = ["@noble"]', "unles_near"),
        ('near = ["@base"]', 'near = ["@noble"]', "there are metal, noble"),
        ('near = [""]', 'near = ["@noble"]', "no word"),
        ("near = [", 'near = ["@noble"]', "metals.toml"),
        ('category = "Metals-2"', 'category = "metals"', "'Metals-2' is no name for a category: at most 32 lower-case"),
        ('category = ""', 'category = "metals"', "'' is no name for a category"),
        (f'category = "{"m" * 33}"', 'category = "metals"', "is no name for a category"),
        ('negated = ["@base"]', 'innocent = ["iron man"]', "there are metal, noble"),
    ],
)
def test_a_mistake_is_named_with_its_file(folder: Path, wrong: str, right: str, message: str) -> None:
    (folder / "metals.toml").write_text(CATEGORY.replace(right, wrong))
    with pytest.raises(ValueError, match=r"metals\.toml") as failure:
        rows.load(folder)
    assert message in str(failure.value)


def test_the_shipped_rules_are_sound(categories: tuple[rows.Category, ...]) -> None:
    assert {each.category for each in categories} == {
        "drugs",
        "hate",
        "minors",
        "real_persons",
        "self_harm",
        "sexual",
        "violence",
    }


def test_every_shipped_rule_speaks_five_languages_or_any(categories: tuple[rows.Category, ...]) -> None:
    lacking = [
        f"{category.category}.{rule.id}"
        for category in categories
        for rule in category.rule
        if "any" not in rule.terms and not {"en", "de", "fr", "es", "it"} <= set(rule.terms)
    ]
    ambiguous = {"drugs.coke", "drugs.weed", "sexual.bare"}  # words for which the other languages have none like them
    assert set(lacking) <= ambiguous


def test_every_rule_that_rewrites_says_what_to_write_in_each_language(categories: tuple[rows.Category, ...]) -> None:
    lacking = [
        f"{category.category}.{rule.id}: {language}"
        for category in categories
        for rule in category.rule
        for language in rule.terms
        if rule.replace and language not in {"any", *rule.replace}
    ]
    assert lacking == []
