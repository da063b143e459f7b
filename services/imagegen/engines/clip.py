"""Prompts that are longer than CLIP's window."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import torch

from services.imagegen.engines.prompt_cache import Embeddings

_MARKS = 2
"""Tokens that every window spends on its start and its end."""
_CUTS = (re.compile(r"\S+\s*"), re.compile(r"\w+\W*|\W+"), re.compile(r"."))
"""What a prompt may be cut into: words, what lies between marks of punctuation, characters."""


class LongPrompts:
    """SDXL's encoders, read in windows: a longer prompt is cut between words and its parts are put one after another.

    A word longer than a window, such as a sentence of a script without spaces, is cut after punctuation, or anywhere
    if it has none. A prompt of one window is encoded as the library does. The pooled embedding is the first window's.
    What is past `max_tokens` is not read.
    """

    def __init__(self, pipeline: Any, max_tokens: int, device: torch.device) -> None:
        self._pipeline = pipeline
        self._device = device
        self._tokenizer = pipeline.tokenizer_2
        self._window = self._tokenizer.model_max_length - _MARKS
        self._limit = max_tokens - _MARKS

    def encode(self, prompts: Sequence[str]) -> list[Embeddings]:
        """Return of each prompt its token embeddings, shape (1, windows * tokens, features), and pooled ones."""
        windows = [self._windows(each) for each in prompts]
        tokens, _, pooled, _ = self._pipeline.encode_prompt(
            list(chain(*windows)), device=self._device, do_classifier_free_guidance=False
        )
        ends = list(accumulate(map(len, windows)))
        spans = [slice(end - len(each), end) for each, end in zip(windows, ends, strict=True)]
        return [(torch.cat(tokens[span].split(1), dim=1), pooled[span][:1]) for span in spans]

    def _windows(self, prompt: str) -> list[str]:
        if self._limit <= self._window or self._count(prompt) <= self._window:
            return [prompt]
        pieces, windows = list(self._pieces(self._beginning(prompt))), []
        while pieces:
            number = self._fitting(pieces)
            windows.append("".join(pieces[:number]))
            pieces = pieces[number:]
        return windows

    def _fitting(self, pieces: Sequence[str]) -> int:
        """Return how many of the first pieces fit into a window: together they may have more tokens than one by one."""
        numbers = range(1, len(pieces) + 1)
        return max(1, bisect_right(numbers, self._window, key=lambda number: self._count("".join(pieces[:number]))))

    def _beginning(self, prompt: str) -> str:
        """Return what is read of a prompt."""
        spans = self._tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        return prompt if len(spans) <= self._limit else prompt[: spans[self._limit][0]]

    def _pieces(self, text: str, cuts: Sequence[re.Pattern[str]] = _CUTS) -> Iterator[str]:
        """Cut a text into words, and those that are longer than a window where it does the least harm."""
        cut, *finer = cuts
        for piece in cut.findall(text):
            if finer and self._count(piece) > self._window:
                yield from self._pieces(piece, finer)
            else:
                yield piece

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)


def padded(text: Embeddings, filler: Embeddings, length: int) -> Embeddings:
    """Return embeddings of `length` tokens, made so long with those of `filler`, an empty prompt."""
    tokens, pooled = text
    missing = (length - tokens.shape[1]) // filler[0].shape[1]
    return torch.cat([tokens, *[filler[0]] * missing], dim=1), pooled
