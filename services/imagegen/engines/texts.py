"""Prompts and negative prompts, encoded once."""

from collections.abc import Callable

from services.imagegen.domain import Job
from services.imagegen.engines.prompt_cache import Embeddings, PromptCache

Encode = Callable[[str], Embeddings]


class Texts:
    """The prompts of one encoder set. Adapters may change the encoders, so each set of adapters has its own."""

    def __init__(self, encode: Encode, encode_negative: Encode | None = None) -> None:
        self._encode = encode
        self._encode_negative = encode_negative or encode
        self._cache = PromptCache()

    def of(self, job: Job, *, guided: bool) -> tuple[Embeddings, Embeddings | None]:
        """Return the embeddings of a job's prompt and, with guidance by a second pass, of its negative prompt."""
        text = self._cache.get((job.prompt, job.adapters, True), lambda: self._encode(job.prompt))
        if not guided:
            return text, None
        negative = job.negative_prompt
        return text, self._cache.get((negative, job.adapters, False), lambda: self._encode_negative(negative))
