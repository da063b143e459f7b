"""A language model behind an OpenAI-compatible endpoint."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from servekit.errors import EngineFailure, ServingError
from services.rewrite_llm.backends.chat_api import ChatApi, Reply
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.prompts import NO, YES, Prompt, conversation, rewrite_prompt, safety_prompt, selection_prompt

logger = logging.getLogger(__name__)

_TOP = 20
"""Likeliest tokens to ask for: the most that the API allows."""
_VOTE = 3.0
"""Log-odds of an answer that comes without log-probabilities, against every other: 95 % against one."""
_CHARS_PER_TOKEN = 2
"""Fewer than any language has, so that a limit of tokens does not cut a wording short."""


class RemoteModel:
    """A `LanguageModel` that scores as the local one does: by the log-probabilities of the first token of an answer.

    An endpoint that gives none is believed what it writes: a vote, whose margin means nothing, as `caveat` then says.
    """

    def __init__(self, model_id: str, api: ChatApi, metrics: RewriteMetrics) -> None:
        self._id = model_id
        self._api = api
        self._metrics = metrics
        self.caveat = ""

    @property
    def id(self) -> str:
        """Id of the model."""
        return self._id

    async def load(self) -> None:
        """Look whether the endpoint is there and has the model; what is wrong is logged, and rules answer meanwhile."""
        try:
            offered = await self._api.models()
        except ServingError as error:
            logger.warning("model %s is not available, rules answer instead: %s", self._id, error.message)
            return
        logger.info("the endpoint offers %s", ", ".join(offered) or "no model")

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def choose(self, candidates: Sequence[Candidate], text: str) -> tuple[float, ...]:
        """Return the log-odds of each candidate, in the order of the candidates."""
        prompt = selection_prompt(candidates, text)
        with self._timed("choose"):
            scores = await self._score(prompt)
        by_id = dict(zip(prompt.answers, scores, strict=True))
        return tuple(by_id[candidate.id] for candidate in candidates)

    async def unsafe(self, text: str) -> float:
        """Return the probability that the text is unsafe, 0 to 1."""
        prompt = safety_prompt(text)
        with self._timed("screen"):
            odds = dict(zip(prompt.answers, map(math.exp, await self._score(prompt)), strict=True))
        return odds[YES] / (odds[YES] + odds[NO])

    async def reword(self, text: str, categories: Sequence[str], max_chars: int) -> str:
        """Return a safe wording of at most `max_chars` characters."""
        messages = conversation(rewrite_prompt(text, categories))
        with self._timed("reword"):
            reply = await self._api.complete(messages, max_tokens=max_chars // _CHARS_PER_TOKEN + 1)
        return reply.text.strip().partition("\n")[0][:max_chars]

    async def _score(self, prompt: Prompt) -> list[float]:
        """Return the log-odds of each continuation of the prompt; raises `EngineFailure` if none was answered."""
        reply = await self._api.complete(conversation(prompt), max_tokens=1, top_logprobs=_TOP)
        found = _by_label(reply.first or {reply.text: 0.0}, prompt.continuations)
        if not found:
            raise EngineFailure("the language model answered something else than it was asked")
        self._note(reply)
        least = min(reply.first.values()) if reply.first else -_VOTE
        return [found.get(label, least) for label in prompt.continuations]

    def _note(self, reply: Reply) -> None:
        votes = not reply.first
        if votes and not self.caveat:
            logger.warning("the endpoint of %s gives no log-probabilities: its answers count as votes", self._id)
        self.caveat = "the endpoint gives no log-probabilities: its answer is a vote" if votes else ""

    @contextmanager
    def _timed(self, task: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._metrics.llm_seconds.labels(task).observe(time.perf_counter() - began)


def _by_label(tokens: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Return the log-probability of each label that stands among the tokens, however those are spaced.

    Words are one in any case ("Yes", "yes"), letters not: `A` and `a` are two labels.
    """
    mass: dict[str, float] = {}
    for token, logprob in tokens.items():
        bare = token.strip()
        label = bare if bare in labels else bare.lower()
        if label in labels and (label == bare or len(label) > 1):
            mass[label] = mass.get(label, 0.0) + math.exp(logprob)
    return {label: math.log(share) for label, share in mass.items() if share > 0}
