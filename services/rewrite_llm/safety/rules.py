"""Apply the safety rules to a text: what is found where, and how to say it innocently."""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Self

from services.rewrite_llm.domain import Verdict
from services.rewrite_llm.safety.rows import Category, Rule
from services.rewrite_llm.text import inflection
from services.rewrite_llm.text.language import guess
from services.rewrite_llm.text.normalise import CLAUSE_ENDS, View, views
from services.rewrite_llm.text.phrases import Lexicon, Match

ANY = "any"
"""The language of terms that are the same in all, such as names."""

_CLAUSE_END = re.compile(rf"[{CLAUSE_ENDS}…]|\s-")


class _Part(Enum):
    """What a phrase is to a rule."""

    TERM = auto()
    NEAR = auto()
    UNLESS_NEAR = auto()
    INNOCENT = auto()
    NEGATED = auto()
    """Innocent within one clause: "no nudity" is, "shirt: no, nudity" is not."""
    UNDOING = auto()
    """What makes a negation in the same clause no longer innocent: "never avoid nudity"."""


@dataclass(frozen=True, slots=True)
class _Use:
    rule: int
    part: _Part
    language: str = ""


_Parts = Mapping[_Part, list[Match[_Use]]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule fired on characters `start` to `end` of the text; `replacement` is in `language`."""

    category: str
    rule_id: str
    verdict: Verdict
    start: int
    end: int
    replacement: str
    language: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment does with each category; a category that is not named keeps the verdict of its file."""

    verdicts: Mapping[str, Verdict]

    def checked(self, categories: Iterable[Category], *others: str) -> Self:
        """Return the policy; raises `ValueError` if it names what is neither a category nor one of the `others`."""
        known = [*(each.category for each in categories), *others]
        if unknown := self.verdicts.keys() - set(known):
            raise ValueError(f"no category {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(known)}")
        return self

    def verdict(self, category: Category, rule: Rule) -> Verdict:
        """Return what happens to a prompt in which `rule` fired."""
        given = rule.verdict or category.verdict
        return given if category.fixed else self.verdicts.get(category.category, given)


class RuleSet:
    """All rules, ready to be applied to any number of texts."""

    def __init__(self, categories: Iterable[Category], policy: Policy) -> None:
        self.categories = {each.category: each for each in categories}
        self._policy = policy
        self._rules = [(category, rule) for category in self.categories.values() for rule in category.rule]
        self._lexicon = Lexicon(_phrases(self._rules))

    def find(self, text: str) -> tuple[Hit, ...]:
        """Return every place where a rule fires, in order of appearance, without repetitions."""
        spoken = cache(lambda: guess(text, default=""))
        hits = {hit for view in views(text) for hit in self._find_in(text, view, spoken)}
        return tuple(sorted(hits, key=lambda hit: (hit.start, -hit.end, hit.rule_id)))

    def soften(self, text: str) -> str:
        """Return `text` with everything that policy does not allow replaced by the innocent wording of its rule."""
        return self._replaced(text, lambda hit: hit.replacement)

    def without_hits(self, text: str) -> str:
        """Return `text` without everything that policy does not allow."""
        return self._replaced(text, lambda hit: "")

    def _replaced(self, text: str, wording: Callable[[Hit], str]) -> str:
        """Replace hits, the longest first where several begin; single spaces remain between words."""
        parts, end = [], 0
        for hit in self.find(text):
            if hit.verdict > Verdict.ALLOW and hit.start >= end:
                before, instead = text[end : hit.start], wording(hit)
                parts += [inflection.with_article(before, instead) if hit.language == "en" else before, instead]
                end = hit.end
        return " ".join("".join([*parts, text[end:]]).split())

    def title(self, category: str) -> str:
        """Return the category in words."""
        return self.categories[category].title if category in self.categories else category

    def _find_in(self, text: str, view: View, spoken: Callable[[], str]) -> Iterator[Hit]:
        found: dict[int, dict[_Part, list[Match[_Use]]]] = defaultdict(lambda: defaultdict(list))
        for match in self._lexicon.find(view):
            found[match.payload.rule][match.payload.part].append(match)
        for index, parts in found.items():
            if _Part.TERM in parts:  # most texts hold words that only stand near terms
                parts[_Part.INNOCENT] += _negations(parts, text, view)
                yield from self._hits(*self._rules[index], parts, text, view, spoken)

    def _hits(
        self, category: Category, rule: Rule, parts: _Parts, text: str, view: View, spoken: Callable[[], str]
    ) -> Iterator[Hit]:
        languages: dict[tuple[int, int], list[str]] = defaultdict(list)
        surroundings = _Surroundings(rule, parts)
        for term in parts[_Part.TERM]:
            if surroundings.let_fire(term):
                languages[view.span(term.start, term.end)].append(term.payload.language)
        verdict = self._policy.verdict(category, rule)
        for (start, end), codes in languages.items():
            language = _language(rule, codes, spoken)
            wording = inflection.agree(rule.replace.get(language, ""), text[start:end], language)
            rule_id = f"{category.category}.{rule.id}"
            yield Hit(category.category, rule_id, verdict, start, end, wording, language)


def _phrases(rules: Iterable[tuple[Category, Rule]]) -> Iterator[tuple[str, _Use]]:
    for index, (category, rule) in enumerate(rules):
        for code, terms in rule.terms.items():
            yield from ((term, _Use(index, _Part.TERM, code)) for term in terms)
        for part, phrases in (
            (_Part.NEAR, rule.near),
            (_Part.UNLESS_NEAR, rule.unless_near),
            (_Part.INNOCENT, category.innocent),
            (_Part.NEGATED, category.negated),
            (_Part.UNDOING, category.undoing),
        ):
            yield from ((phrase, _Use(index, part)) for phrase in phrases)


def _negations(parts: _Parts, text: str, view: View) -> list[Match[_Use]]:
    """Return the phrases that say no to something, each within one clause, in which nothing else undoes it."""
    negated = parts[_Part.NEGATED]
    undoing = sorted(parts[_Part.UNDOING], key=lambda each: each.start) if negated else []
    starts = [each.start for each in undoing]

    def parted(start: int, end: int) -> bool:
        return start < end and _CLAUSE_END.search(text, *view.span(start, end)) is not None

    def is_undone(phrase: Match[_Use]) -> bool:
        """Look at what is next to the phrase on either side: what is farther off is no nearer to its clause."""
        before = undoing[: bisect_left(starts, phrase.start)][-1:]
        after = undoing[bisect_left(starts, phrase.end) :][:1]
        return any(not parted(each.end, phrase.start) for each in before) or any(
            not parted(phrase.end, each.start) for each in after
        )

    return [each for each in negated if not parted(each.start, each.end) and not is_undone(each)]


class _Surroundings:
    """What of a rule, besides its terms, stands where in a text."""

    def __init__(self, rule: Rule, parts: _Parts) -> None:
        self._needs_company = bool(rule.near)
        self._within = rule.within or None
        self._innocent = _InOrder(parts[_Part.INNOCENT], lambda each: (each.start, each.end))
        company = (each for each in parts[_Part.NEAR] if not self._is_innocent(each))
        self._near = _InOrder(company, lambda each: (each.first, each.last))
        self._unless = _InOrder(parts[_Part.UNLESS_NEAR], lambda each: (each.first, each.last))

    def let_fire(self, term: Match[_Use]) -> bool:
        """Tell whether the rule's conditions hold for a term."""
        if self._is_innocent(term) or self._are_around(term, self._unless):
            return False
        return not self._needs_company or self._are_around(term, self._near)

    def _are_around(self, term: Match[_Use], matches: "_InOrder") -> bool:
        """Tell whether any of the matches, beside the term itself, is as near to it as the rule wants."""
        if self._within is None:
            return any(not each.lies_in(term) for each in matches.all)
        reached = matches.reaching(term.first - self._within, term.last + self._within)
        return any(term.distance(each) <= self._within and not each.lies_in(term) for each in reached)

    def _is_innocent(self, words: Match[_Use]) -> bool:
        """Tell whether an innocent phrase has one of the words, and is more than a part of the phrase they are."""
        over = (each for each in self._innocent.reaching(words.start, words.end) if words.overlaps(each))
        return any(words.lies_in(each) or not each.lies_in(words) for each in over)


class _InOrder:
    """Matches in the order of their places, so that those about a place are found without looking at all."""

    def __init__(self, matches: Iterable[Match[_Use]], place: Callable[[Match[_Use]], tuple[int, int]]) -> None:
        self.all = sorted(matches, key=place)
        places = [place(each) for each in self.all]
        self._starts = [start for start, _ in places]
        self._longest = max((end - start for start, end in places), default=0)

    def reaching(self, start: int, end: int) -> Sequence[Match[_Use]]:
        """Return those that touch the places from `start` to `end`, and perhaps a few before."""
        return self.all[bisect_left(self._starts, start - self._longest) : bisect_right(self._starts, end)]


def _language(rule: Rule, languages: Sequence[str], spoken: Callable[[], str]) -> str:
    """Return the language to replace a term in: its own; that of the text for a term of several."""
    code = languages[0]
    if (len(languages) > 1 or code == ANY) and (spoken() in languages or ANY in languages):
        code = spoken()
    return code if code in rule.replace else "en"
