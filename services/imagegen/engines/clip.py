"""Prompts that are longer than CLIP's window."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import torch

from services.imagegen.engines.prompt_cache import Embeddings

_MARKS = 2
"""Tokens that every window spends on its start and its end."""


class LongPrompts:
    """SDXL's encoders, read in windows: a longer prompt is cut between words and its parts are put one after another.

    A prompt of one window is encoded as the library does. The pooled embedding is the first window's. Words past
    `max_tokens` are not read.
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
        windows, room, left = [""], self._window, self._limit
        for word in prompt.split():
            size = self._count(word)
            left -= size
            if left < 0:
                break
            if size > room and windows[-1]:
                windows.append("")
                room = self._window
            windows[-1] = f"{windows[-1]} {word}".strip()
            room -= size
        return windows

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)


def padded(text: Embeddings, filler: Embeddings, length: int) -> Embeddings:
    """Return embeddings of `length` tokens, made so long with those of `filler`, an empty prompt."""
    tokens, pooled = text
    missing = (length - tokens.shape[1]) // filler[0].shape[1]
    return torch.cat([tokens, *[filler[0]] * missing], dim=1), pooled
