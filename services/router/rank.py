"""From how well each model suits a prompt, and how soon it could start, to one order."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.router.domain import Score


@dataclass(frozen=True, slots=True)
class Ranking:
    """How much readiness counts.

    The final score is `suitability * (1 - weight + weight * readiness)`, where readiness counts only for models whose
    suitability is within `band` of the best; for any other it is taken as 0. So readiness decides among close models
    and can never lift one over a model that suits clearly better.
    """

    weight: float = 0.5
    band: float = 0.15

    def rank(self, suitability: Mapping[str, float], readiness: Mapping[str, float]) -> tuple[Score, ...]:
        """Return the scores, best first; equal ones keep their order."""
        floor = max(suitability.values()) - self.band
        scores = [self._score(model, suits, readiness[model], suits >= floor) for model, suits in suitability.items()]
        return tuple(sorted(scores, key=lambda score: score.final, reverse=True))

    def _score(self, model: str, suits: float, ready: float, close: bool) -> Score:
        final = suits * (1 - self.weight + (self.weight * ready if close else 0.0))
        return Score(model, final, suits, ready)
