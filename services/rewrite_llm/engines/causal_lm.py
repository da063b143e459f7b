"""Answers by a causal language model of transformers: candidates scored as continuations of a cached prefix."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from servekit.errors import EngineFailure
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.engines.prefix import KeysAndValues, Prefix, PrefixStore
from services.rewrite_llm.ports import go_on
from services.rewrite_llm.prompts import (
    YES,
    Encoded,
    Frame,
    Prompt,
    frame,
    rewrite_prompt,
    safety_prompt,
    selection_prompt,
    text_ids,
)

Ids = tuple[int, ...]

_PREFIXES = 16
_WINDOW_TOKENS = 384
"""Tokens of text read at once: longer texts are screened window by window, and chosen for by the first."""
_WINDOW_OVERLAP = 32
_MIN_WINDOW_TOKENS = 16
_WINDOWS_AT_ONCE = 16
"""Windows that share a forward pass, unless more texts are asked about at once: a long text may have fifty."""


class CausalLmEngine:
    """An `Engine` over a model whose layers all attend to everything (Qwen2, Qwen2.5, Qwen3 and their like)."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model: Any = model
        self._tokenizer: Any = tokenizer
        self._prefixes = PrefixStore(model.config, self._prefill, _PREFIXES)
        self._frame = lru_cache(maxsize=_PREFIXES)(self._frame_of)
        self._end = _end_tokens(model, tokenizer)

    @property
    def bytes(self) -> int:
        """Bytes of the weights."""
        held = (*self._model.parameters(), *self._model.buffers())
        return sum(weight.numel() * weight.element_size() for weight in held)

    def choose(self, candidates: Sequence[Candidate], texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Score the letters that stand for the candidates."""
        prompts = [self._fitted(selection_prompt(candidates, text)) for text in texts]
        scored = zip(prompts, self._score(prompts), strict=True)
        by_id = [dict(zip(prompt.answers, scores, strict=True)) for prompt, scores in scored]
        return [tuple(scores[candidate.id] for candidate in candidates) for scores in by_id]

    def unsafe(self, texts: Sequence[str], check: Callable[[], None] = go_on) -> list[float]:
        """Score "yes" against "no"; the most suspicious window of a long text counts."""
        windows = [(at, window) for at, text in enumerate(texts) for window in self._windows(safety_prompt(text))]
        scores: list[tuple[float, ...]] = []
        at_once = max(len(texts), _WINDOWS_AT_ONCE)
        for start in range(0, len(windows), at_once):
            check()
            scores += self._score([window for _, window in windows[start : start + at_once]])
        chances = [(at, _chance(window, each)) for (at, window), each in zip(windows, scores, strict=True)]
        return [max(chance for _, chance in group) for _, group in groupby(chances, key=lambda pair: pair[0])]

    @torch.inference_mode()
    def reword(self, text: str, categories: Sequence[str], max_chars: int) -> Generator[None, None, str]:
        """Write greedily, a token a step, until the end of the turn, a line break, or `max_chars` characters."""
        encoded = self._encoded(rewrite_prompt(text, categories))
        cache, ids, written = self._prefixes.cache(encoded.prefix, rows=1), encoded.rest, []
        room = min(max_chars, self._context - len(encoded.prefix) - len(encoded.rest))
        for _ in range(room):
            token = int(self._logits(self._hidden([ids], cache)[:, -1]).argmax())
            if token in self._end or "\n" in self._tokenizer.decode([token]):
                break
            written.append(token)
            ids = (token,)
            yield
        return str(self._tokenizer.decode(written, skip_special_tokens=True)).strip()[:max_chars]

    def _frame_of(self, bare: Prompt) -> Frame:
        return frame(bare, self._tokenizer)

    @property
    def _context(self) -> int:
        return int(self._model.config.max_position_embeddings)

    @torch.inference_mode()
    def _score(self, prompts: Sequence[Prompt]) -> list[tuple[float, ...]]:
        """Return, for each prompt, the mean log-probability per token of each of its continuations.

        The prompts have one prefix. A row is a prompt's rest and all but the last token of a continuation, so
        continuations of a single token share a row, and one forward pass answers everything.
        """
        encoded = [self._encoded(prompt) for prompt in prompts]
        asked = [
            (each.rest + continuation[:-1], len(each.rest) + at - 1, token)
            for each in encoded
            for continuation in each.continuations
            for at, token in enumerate(continuation)
        ]
        places = list(dict.fromkeys((row, position) for row, position, _ in asked))
        predicted = self._predict([row for row, _ in places], [position for _, position in places], encoded[0].prefix)
        number = {place: at for at, place in enumerate(places)}
        chances = predicted[[number[row, position] for row, position, _ in asked], [token for _, _, token in asked]]
        return _means(encoded, iter(chances.tolist()))

    def _predict(self, rows: Sequence[Ids], positions: Sequence[int], prefix: Prefix) -> torch.Tensor:
        """Return the log-probabilities (places, vocabulary) of what comes after a position of a row, for each pair."""
        distinct = list(dict.fromkeys(rows))
        hidden = self._hidden(distinct, self._prefixes.cache(prefix, len(distinct)))
        number = {row: at for at, row in enumerate(distinct)}
        return torch.log_softmax(self._logits(hidden[[number[row] for row in rows], list(positions)]).float(), dim=-1)

    def _hidden(self, rows: Sequence[Ids], cache: DynamicCache) -> torch.Tensor:
        """Return the last states (rows, tokens, width). Rows are padded at the end, where nothing attends to it."""
        longest = max(map(len, rows))
        padded = [[*row, *([0] * (longest - len(row)))] for row in rows]
        ids = torch.tensor(padded, device=self._model.device)
        states: torch.Tensor = self._model.base_model(ids, past_key_values=cache, use_cache=True).last_hidden_state
        return states

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of states; raises `EngineFailure` if they are no numbers, which would compare as safe."""
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden)
        if not logits.isfinite().all():
            raise EngineFailure(f"the model computes no numbers in {logits.dtype}: try ATELIER_REWRITE_DTYPE=float32")
        return logits

    def _prefill(self, prefix: Prefix) -> KeysAndValues:
        cache: Any = DynamicCache(config=self._model.config)
        self._hidden([prefix], cache)
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    def _encoded(self, prompt: Prompt) -> Encoded:
        encoded = self._frame(prompt.about("")).around(text_ids(prompt.text, self._tokenizer))
        longest = max((len(each) for each in encoded.continuations), default=1)
        if len(encoded.prefix) + len(encoded.rest) + longest > self._context:
            raise EngineFailure(f"the prompt does not fit into the model's {self._context} tokens")
        return encoded

    def _fitted(self, prompt: Prompt) -> Prompt:
        return next(self._windows(prompt))

    def _windows(self, prompt: Prompt) -> Iterator[Prompt]:
        """Yield the prompt for each part of its text that the model can read at once."""
        bare = self._frame(prompt.about(""))
        room = min(_WINDOW_TOKENS, self._context - len(bare.prefix) - len(bare.suffix) - _WINDOW_OVERLAP)
        if room < _MIN_WINDOW_TOKENS:
            raise EngineFailure(f"the instructions do not fit into the model's {self._context} tokens")
        ids = text_ids(prompt.text, self._tokenizer)
        if len(ids) <= room:
            yield prompt
            return
        for start in range(0, len(ids), room - min(_WINDOW_OVERLAP, room // 2)):
            yield prompt.about(str(self._tokenizer.decode(list(ids[start : start + room]))))


def _means(encoded: Sequence[Encoded], chances: Iterator[float]) -> list[tuple[float, ...]]:
    """Return the mean over the tokens of each continuation; `chances` gives those of all, one after the other."""
    return [tuple(sum(islice(chances, len(ids))) / len(ids) for ids in each.continuations) for each in encoded]


def _chance(prompt: Prompt, log_probabilities: Sequence[float]) -> float:
    """Return the probability of "yes" among the prompt's answers."""
    odds = dict(zip(prompt.answers, map(math.exp, log_probabilities), strict=True))
    return odds[YES] / sum(odds.values())


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end an answer, by the model's and the tokenizer's own account."""
    configured: Any = model.generation_config.eos_token_id if model.generation_config else None
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(each for each in (*several, tokenizer.eos_token_id) if isinstance(each, int))
