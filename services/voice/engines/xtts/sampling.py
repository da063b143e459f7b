"""The choice of the next audio token, on the host: the same in every device mode and in every batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; the values come from the checkpoint's `config.json`."""

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float

    @classmethod
    def of(cls, config: Any) -> "Sampling":
        """Return those of an `XttsConfig`."""
        return cls(config.temperature, config.top_k, config.top_p, config.repetition_penalty)


class Sampler:
    """Draws the tokens of one row from its own stream of random numbers, so that neighbours do not matter.

    `seen` are tokens that count as said before the first one.
    """

    def __init__(self, sampling: Sampling, seed: int, vocabulary: int, seen: Iterable[int]) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(seed)
        self._seen = torch.zeros(vocabulary, dtype=torch.bool)
        self._seen[list(seen)] = True

    def draw(self, logits: torch.Tensor) -> int:
        """Return a token; `logits` has shape (vocabulary,).

        The steps and their order are those of transformers' `generate`, which XTTS was tuned with: penalty on what was
        said (Keskar et al. 2019, "CTRL"), temperature, top-k, and the smallest set whose mass reaches top-p.
        """
        how = self._sampling
        penalised = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
        scores = torch.where(self._seen, penalised, logits) / how.temperature
        best, tokens = scores.topk(min(how.top_k or len(scores), len(scores)))
        mass = best.softmax(0)
        mass[mass.cumsum(0) - mass >= how.top_p] = 0
        reached = mass.cumsum(0)
        at = int(torch.searchsorted(reached, reached[-1] * self._random.random(), right=True))
        token = int(tokens[min(at, len(tokens) - 1)])
        self._seen[token] = True
        return token
