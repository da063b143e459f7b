"""Prompts and negative prompts, encoded once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from services.imagegen.domain import Job
from services.imagegen.engines.prompt_cache import Embeddings, PromptCache

Encode = Callable[[Sequence[str]], Sequence[Embeddings]]
"""Encodes prompts, all in one pass."""


class Texts:
    """The prompts of one encoder set. Adapters may change the encoders, so each set of adapters has its own.

    What was encoded in company is kept apart from what was encoded alone: sums over a batch are rounded otherwise, and
    a picture made alone is to be the same each time.
    """

    def __init__(self, encode: Encode, encode_negative: Callable[[str], Embeddings] | None = None) -> None:
        self._encode = encode
        self._encode_negative = encode_negative or self._alone
        self._cache = PromptCache()
        self._read: dict[str, Embeddings] = {}
        """Prompts that are not to be encoded again inside `together`."""

    def of(self, job: Job, *, guided: bool) -> tuple[Embeddings, Embeddings | None]:
        """Return the embeddings of a job's prompt and, with guidance by a second pass, of its negative prompt."""
        text = self._read.get(job.prompt) or self._cached(job, "alone", job.prompt, self._alone)
        return text, self._cached(job, "negative", job.negative_prompt, self._encode_negative) if guided else None

    @contextmanager
    def together(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Have the prompts of jobs with equal adapters encoded in one pass, for `of` inside the block."""
        adapters = jobs[0].adapters
        known = {job.prompt: self._cache.find((job.prompt, adapters, "alone")) for job in jobs}
        known |= {
            prompt: self._cache.find((prompt, adapters, "together")) for prompt, text in known.items() if text is None
        }
        unknown = [prompt for prompt, text in known.items() if text is None]
        for prompt, views in zip(unknown, self._encode(unknown) if unknown else (), strict=True):
            known[prompt] = text = tuple(each.clone() for each in views)
            self._cache.keep((prompt, adapters, "together" if len(unknown) > 1 else "alone"), text)
        self._read = {prompt: text for prompt, text in known.items() if text is not None}
        try:
            yield
        finally:
            self._read = {}

    def _alone(self, prompt: str) -> Embeddings:
        return self._encode([prompt])[0]

    def _cached(
        self, job: Job, how: Literal["alone", "negative"], prompt: str, encode: Callable[[str], Embeddings]
    ) -> Embeddings:
        key = (prompt, job.adapters, how)
        embeddings = self._cache.find(key)
        if embeddings is None:
            embeddings = encode(prompt)
            self._cache.keep(key, embeddings)
        return embeddings
