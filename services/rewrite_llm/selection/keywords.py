"""Choose among candidates by what their strengths and a prompt have in common."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.text.normalise import View, folded
from services.rewrite_llm.text.phrases import Lexicon

_LATER_STRENGTH = 0.7
"""What a model names first it does best: each further topic weighs this much of the one before."""
_SHARPNESS = 6.0
"""Turns likenesses of 0 to 1 into log-odds."""
_WORD_IN_COMMON = 0.25
_SHORTEST_WORD = 5
_STEM = 6


class Topic(BaseModel):
    """One row of `topics.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    strengths: tuple[str, ...]
    prompt: dict[str, tuple[str, ...]]
    weight: float = 1.0
    """How much it counts that a prompt asks for this topic."""


class _Topics(BaseModel):
    topic: tuple[Topic, ...]


def load(path: Path) -> tuple[Topic, ...]:
    """Read the topics; raises `ValueError` naming the wrong row."""
    return _Topics.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).topic


@dataclass(frozen=True, slots=True)
class _Profile:
    """What a candidate says of itself: topics by weight, and the beginnings of its words."""

    topics: Mapping[str, float]
    words: frozenset[str]


class Keywords:
    """Scores candidates by topic: the cosine of what a prompt asks for and what a candidate says it is good at."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._claims = Lexicon((phrase, topic.id) for topic in topics for phrase in topic.strengths)
        self._wishes = Lexicon(
            (phrase, topic.id) for topic in topics for phrases in topic.prompt.values() for phrase in phrases
        )
        self._weights = {topic.id: topic.weight for topic in topics}
        self._profile = lru_cache(maxsize=1024)(self._read)

    def score(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        """Return log-odds in the order of the candidates; all equal if nothing in the prompt speaks for any."""
        view = folded(text)
        wishes, words = self._wanted(view), _words(view.text)
        return tuple(_SHARPNESS * _likeness(self._profile(each), wishes, words) for each in candidates)

    def _wanted(self, view: View) -> Mapping[str, float]:
        places: dict[str, set[int]] = {}
        for match in self._wishes.find(view):
            places.setdefault(match.payload, set()).add(match.first)
        return _unit({topic: self._weights[topic] * math.sqrt(len(found)) for topic, found in places.items()})

    def _read(self, candidate: Candidate) -> _Profile:
        told = folded(f"{' '.join(candidate.tags)}. {candidate.strengths}")
        named = dict.fromkeys(match.payload for match in self._claims.find(told))
        weights = {topic: _LATER_STRENGTH**place for place, topic in enumerate(named)}
        return _Profile(_unit(weights), _words(told.text))


def _likeness(profile: _Profile, wishes: Mapping[str, float], words: frozenset[str]) -> float:
    cosine = sum(wishes.get(topic, 0.0) * weight for topic, weight in profile.topics.items())
    return cosine + _WORD_IN_COMMON * min(len(words & profile.words), 2)


def _words(text: str) -> frozenset[str]:
    """Return the beginnings of the longer words, so that singular and plural agree."""
    return frozenset(word[:_STEM] for word in text.replace(",", " ").split() if len(word) >= _SHORTEST_WORD)


def _unit(vector: Mapping[str, float]) -> Mapping[str, float]:
    length = math.hypot(*vector.values())
    return {key: value / length for key, value in vector.items()}
