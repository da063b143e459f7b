"""Lessons as tensors: a prefix is laid down once; each text after it sees only that and itself, as in serving."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recipes.sketch_qwen.lessons import Lesson
from services.rewrite_llm.prompts import Prompt, encode

_PREFIX, _PADDING = 0, -1


@dataclass(frozen=True, slots=True)
class Part:
    """One text's token ids after the prefix; `asked` of them are given, the rest is to be predicted."""

    ids: tuple[int, ...]
    asked: int


@dataclass(frozen=True, slots=True)
class Row:
    """One lesson's token ids: a shared prefix and its parts."""

    prefix: tuple[int, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Batch:
    """Rows side by side.

    `ids`, `positions` and `segments` are [rows, length]; a segment is 0 in the prefix, the part's number from 1 on, -1
    in padding. The hidden state at (`rows`[k], `columns`[k]) should predict `targets`[k]; `weights`[k] makes every
    answer count alike, however many tokens it has.
    """

    ids: Tensor
    positions: Tensor
    segments: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    weights: Tensor

    @cached_property
    def mask(self) -> Tensor:
        """What may be attended to, additive, [rows, 1, length, length]."""
        ours, theirs = self.segments[:, :, None], self.segments[:, None, :]
        length = self.ids.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        allowed = earlier & ((ours == theirs) | (theirs == _PREFIX))
        return torch.zeros(allowed.shape, device=self.ids.device).masked_fill(~allowed, -1e9)[:, None]


class Encoder:
    """Turns lessons into rows of at most `length` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    def row(self, lesson: Lesson) -> Row:
        """Encode as many texts of `lesson` as fit, at least one.

        Raises:
            ValueError: not even the first text fits.
        """
        prefix: tuple[int, ...] = ()
        parts: list[Part] = []
        room = self._length
        for prompt, answer in zip(lesson.prompts, lesson.answers, strict=True):
            encoded = encode(prompt, self._tokenizer)
            room -= 0 if parts else len(encoded.prefix)
            prefix = encoded.prefix
            part = Part(encoded.rest + self._answer(prompt, answer, encoded.continuations), len(encoded.rest))
            room -= len(part.ids)
            if room < 0:
                break
            parts.append(part)
        if not parts:
            raise ValueError(f"a lesson does not fit {self._length} tokens")
        return Row(prefix, tuple(parts))

    def _answer(self, prompt: Prompt, answer: str, continuations: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if prompt.continuations:
            return continuations[prompt.continuations.index(answer)]
        ids = self._tokenizer.encode(answer, add_special_tokens=False, split_special_tokens=True)
        return (*ids, int(self._tokenizer.eos_token_id))


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """Pad `rows` to the longest and note what is to be predicted."""
    laid = [_lay(row) for row in rows]
    length = max(len(each.ids) for each in laid)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions, segments = torch.zeros_like(ids), torch.full_like(ids, _PADDING)
    for index, each in enumerate(laid):
        ids[index, : len(each.ids)] = torch.tensor(each.ids)
        positions[index, : len(each.ids)] = torch.tensor(each.positions)
        segments[index, : len(each.ids)] = torch.tensor(each.segments)
    asked = torch.tensor([(index, *target) for index, each in enumerate(laid) for target in each.targets])
    weights = torch.tensor([weight for each in laid for weight in each.weights])
    moved = (each.to(device) for each in (ids, positions, segments, *asked.unbind(1), weights))
    return Batch(*moved)


@dataclass(frozen=True, slots=True)
class _Laid:
    """A row laid out: a number per token, and what is asked as (column, token that follows) with its weight."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    targets: list[tuple[int, int]]
    weights: list[float]


def _lay(row: Row) -> _Laid:
    before = len(row.prefix)
    laid = _Laid(list(row.prefix), list(range(before)), [_PREFIX] * before, [], [])
    for number, part in enumerate(row.parts, start=1):
        start, given, answer = len(laid.ids), part.ids[:-1], range(part.asked, len(part.ids))
        laid.ids.extend(given)
        laid.positions.extend(range(before, before + len(given)))
        laid.segments.extend([number] * len(given))
        laid.targets.extend((start + at - 1, part.ids[at]) for at in answer)
        laid.weights.extend([1 / len(answer)] * len(answer))
    return laid
