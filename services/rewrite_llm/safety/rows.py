"""The rule files: what they may say, read and checked."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.rewrite_llm.domain import CATEGORY, Verdict
from services.rewrite_llm.text.phrases import parse

LISTS_FILE = "lists.toml"

R = TypeVar("R", bound="Row")


def _named(name: object) -> Verdict:
    names = {verdict.name.lower(): verdict for verdict in Verdict}
    if name not in names:
        raise ValueError(f"{name!r} is no verdict; allowed are {', '.join(names)}")
    return names[str(name)]


def _category(name: str) -> str:
    if not CATEGORY.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a category: at most 32 lower-case letters, digits and _, a letter first"
        )
    return name


def _checked(phrase: str) -> str:
    if not phrase.startswith("@"):
        parse(phrase)
    return phrase


Phrases = tuple[Annotated[str, AfterValidator(_checked)], ...]
VerdictName = Annotated[Verdict, BeforeValidator(_named)]


class Row(BaseModel):
    """Base of all rows: an unknown key is an error, so that a typing mistake cannot switch a rule off."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Row):
    """One rule. It fires where one of its terms stands, if the conditions hold."""

    id: str
    """Unique in its category; `category.id` is what findings carry."""
    terms: dict[str, Phrases]
    """Phrases by language code, or by `any` for what is the same in all; `@name` means the list of that name."""
    verdict: VerdictName | None = None
    """Overrides the category's verdict, unless policy sets one for the category."""
    near: Phrases = ()
    """If given, one of these must stand near the term."""
    unless_near: Phrases = ()
    """If one of these stands near the term, the rule does not fire."""
    within: int = Field(default=0, ge=0)
    """How many words may stand between the term and what is near it; 0 means anywhere in the text."""
    replace: dict[str, str] = {}
    """By language: what rule-based rewriting puts in place of the term; empty removes it."""


class Category(Row):
    """One file: a category and its rules."""

    category: Annotated[str, AfterValidator(_category)]
    """Its name, such as `violence`, which requests and policy use too."""
    title: str
    """The category in words, for reasons shown to people."""
    verdict: VerdictName
    """What happens to a prompt of this category by default: allow, rewrite or block."""
    fixed: Literal[True] | None = None
    """If set, policy cannot change the verdict."""
    innocent: Phrases = ()
    """Phrases whose words no rule of this file looks at, neither as terms nor as what must stand near, unless they are
    part of a longer phrase that the rule has."""
    negated: Phrases = ()
    """Phrases that ask for there being none of it ("no nudity"): as `innocent`, if no sign of punctuation is inside and
    the clause holds nothing else that is `undoing`."""
    undoing: Phrases = ()
    """What may turn a negation into its opposite ("never", "enough")."""
    rule: tuple[Rule, ...]


class Shared(Row):
    """The file `lists.toml`."""

    lists: dict[str, Phrases]
    """Phrases by name, which rules refer to as `@name`."""
    additions: dict[str, str]
    """By language: words that steer a picture towards the harmless where no rule has anything to replace."""


def load(directory: Path) -> tuple[Category, ...]:
    """Read every category of `directory`, with the names of lists replaced by their phrases.

    Raises:
        ValueError: a file is not TOML, has a wrong or unknown key, or names a list that does not exist.
    """
    lists = shared(directory).lists
    files = sorted(path for path in directory.glob("*.toml") if path.name != LISTS_FILE)
    return tuple(_expanded(_read(path, Category), lists, path) for path in files)


def shared(directory: Path) -> Shared:
    """Read what the categories of `directory` share. Raises as `load`."""
    return _read(directory / LISTS_FILE, Shared)


def _read(path: Path, kind: type[R]) -> R:
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


def _expanded(category: Category, lists: Mapping[str, tuple[str, ...]], path: Path) -> Category:
    def phrases(given: Iterable[str]) -> tuple[str, ...]:
        return tuple(phrase for each in given for phrase in (named(each) if each.startswith("@") else (each,)))

    def named(name: str) -> tuple[str, ...]:
        if name[1:] not in lists:
            raise ValueError(f"{path}: no list {name}; there are {', '.join(sorted(lists))}")
        return phrases(lists[name[1:]])

    rules = tuple(
        rule.model_copy(
            update={
                "terms": {language: phrases(terms) for language, terms in rule.terms.items()},
                "near": phrases(rule.near),
                "unless_near": phrases(rule.unless_near),
            }
        )
        for rule in category.rule
    )
    spared = {name: phrases(getattr(category, name)) for name in ("innocent", "negated", "undoing")}
    return category.model_copy(update={**spared, "rule": rules})
