"""XTTS's GPT as a batch whose rows come and go between tokens.

The layers are those of the loaded module; the loop over them, the cache and the positions are ours, because upstream's
keep one prefix on the module and cannot batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from services.voice.engines.xtts.cache import Cache


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a row begins with: the voice, float32 (tokens, width), the text, and what was said of it already."""

    conditioning: torch.Tensor
    text: Sequence[int]
    codes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the GPT says of the next token of each row, on the host: latents (rows, width), logits (rows, tokens)."""

    latents: torch.Tensor
    logits: torch.Tensor


class GptBatch:
    """Rows that are continued together. `gpt` is a `TTS.tts.layers.xtts.gpt.GPT` placed where it runs."""

    def __init__(self, gpt: Any) -> None:
        self._gpt = gpt
        self._layers = gpt.gpt.h
        self._heads = gpt.heads
        width = gpt.model_dim // self._heads
        self._device, self._dtype = gpt.mel_embedding.weight.device, gpt.mel_embedding.weight.dtype
        self._cache = Cache(len(self._layers), self._heads, width, device=self._device, dtype=self._dtype)
        # for a single query torch's CPU kernel takes twice as long in bfloat16 as in float32, conversion included
        self._attending = torch.float32 if self._device.type == "cpu" else self._dtype

    def __len__(self) -> int:
        return len(self._cache.lengths)

    def add(self, prompts: Sequence[Prompt]) -> Heard:
        """Add rows behind those there are, and return what comes first for each of them."""
        rows = [self._embedded(prompt) for prompt in prompts]
        lengths, first = [len(row) for row in rows], len(self)
        self._cache.add(lengths)
        hidden = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        for index, layer in enumerate(self._layers):
            query, keys_values = self._projected(layer, hidden)
            self._cache.fill(index, first, keys_values)
            # padding is to the right: no token before it looks at it
            heard = scaled_dot_product_attention(query, keys_values[0], keys_values[1], is_causal=True)
            hidden = _continued(layer, hidden, heard)
        last = torch.tensor(lengths, device=self._device) - 1
        return self._head(hidden[torch.arange(len(rows), device=self._device), last])

    def step(self, codes: Sequence[int], positions: Sequence[int]) -> Heard:
        """Append a token to every row, `positions` counted from the first one said, and return what comes next."""
        gpt, rows = self._gpt, torch.arange(len(codes), device=self._device)
        code, position = (torch.tensor(each, device=self._device) for each in (codes, positions))
        hidden = (gpt.mel_embedding(code) + gpt.mel_pos_embedding.emb(position))[:, None]
        ends = torch.tensor(self._cache.lengths, device=self._device)
        self._cache.grow()
        columns = torch.arange(max(self._cache.lengths), device=self._device)
        visible = (columns <= ends[:, None])[:, None, None]
        for index, layer in enumerate(self._layers):
            query, keys_values = self._projected(layer, hidden)
            cached = self._cache.view(index)
            cached[:, rows, :, ends] = keys_values[:, :, :, 0].transpose(0, 1)
            keys, values = cached.to(self._attending)
            heard = scaled_dot_product_attention(query.to(self._attending), keys, values, attn_mask=visible)
            hidden = _continued(layer, hidden, heard.to(self._dtype))
        return self._head(hidden[:, 0])

    def remove(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        self._cache.remove(row)

    def _embedded(self, prompt: Prompt) -> torch.Tensor:
        """Return voice, text and audio tokens as the GPT reads them, shape (tokens, width)."""
        gpt = self._gpt
        text = torch.tensor([gpt.start_text_token, *prompt.text, gpt.stop_text_token], device=self._device)
        codes = torch.tensor([gpt.start_audio_token, *prompt.codes], device=self._device)
        return torch.cat(
            [
                prompt.conditioning.to(self._device, self._dtype),
                gpt.text_embedding(text) + gpt.text_pos_embedding.emb.weight[: len(text)],
                gpt.mel_embedding(codes) + gpt.mel_pos_embedding.emb.weight[: len(codes)],
            ]
        )

    def _projected(self, layer: Any, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return query (rows, heads, tokens, width) and keys and values (2, rows, heads, tokens, width) of a layer."""
        rows, tokens, _ = hidden.shape
        projected = layer.attn.c_attn(layer.ln_1(hidden)).view(rows, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        return projected[0], projected[1:]

    def _head(self, hidden: torch.Tensor) -> Heard:
        latents = self._gpt.final_norm(self._gpt.gpt.ln_f(hidden))
        return Heard(latents.float().cpu(), self._gpt.mel_head(latents).float().cpu())


def _continued(layer: Any, hidden: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    hidden = hidden + layer.attn.c_proj(heard.transpose(1, 2).flatten(2))
    result: torch.Tensor = hidden + layer.mlp(layer.ln_2(hidden))
    return result
