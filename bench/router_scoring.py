"""Choosing a model by scoring candidates, beside asking the same weights to generate JSON.

Both read the same instruction, candidates and prompt. Scoring runs as rewrite_llm does it: the prefix is kept, one
forward pass per prompt, nothing is generated. The baseline is `generate` of transformers on the whole conversation,
greedy, 40 tokens: as many as {"model": "…", "reason": "…"} takes; it is also measured on a prefix that is kept. The
bundled model is real; Qwen2.5 0.5B and 1.5B have their full size and random weights in bfloat16. One thread.
"""

import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from bench._figures import Figure, percentile
from evals.candidates import load_set
from services.rewrite_llm.engines.causal_lm import CausalLmEngine
from services.rewrite_llm.prompts import Prompt, frame, selection_prompt, text_ids

_BUNDLED = Path("models/sketch-qwen")
_JSON_TOKENS = 40
_ASK_FOR_JSON = 'Answer in JSON: {"model": "<id>", "reason": "<why>"}'
_PROMPTS = (
    "a portrait of an old sailor, soft light",
    "a poster for a jazz night, bold typography",
    "a minimal logo of a fox",
    "a wide mountain landscape at dawn",
    "a bowl of oranges on a blue table",
)
_AIM_RATIO, _AIM_BUNDLED_MS = ">= 10", "< 15"


def run() -> list[Figure]:
    """Measure one model after the other."""
    torch.set_num_threads(1)
    return [figure for name, load, samples in _models() for figure in measure(name, load(), samples)]


def _models() -> Iterator[tuple[str, Callable[[], Any], int]]:
    """Yield name, loader and number of samples."""
    yield "bundled model", lambda: AutoModelForCausalLM.from_pretrained(_BUNDLED, dtype=torch.float32), 30
    yield "Qwen2.5-0.5B, random weights", lambda: _random(896, 4864, layers=24, heads=14), 3
    yield "Qwen2.5-1.5B, random weights", lambda: _random(1536, 8960, layers=28, heads=12), 3


def _random(width: int, inner: int, *, layers: int, heads: int) -> Any:
    """Return a model of the size that Qwen's own configurations name."""
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def measure(name: str, model: Any, samples: int) -> list[Figure]:
    """Return the figures of one model."""
    prompts = list(islice(cycle(_PROMPTS), samples))
    tokenizer = AutoTokenizer.from_pretrained(_BUNDLED)
    engine, candidates = CausalLmEngine(model.eval(), tokenizer), load_set("studio").candidates
    baseline = _Json(model, tokenizer, selection_prompt(candidates, ""))
    ways: dict[str, Callable[[str], object]] = {
        "scoring": lambda prompt: engine.choose(candidates, [prompt]),
        "JSON": baseline.whole,
        "JSON on a kept prefix": baseline.on_kept_prefix,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    engine.choose(candidates, ["warm-up"])
    on_core = [_seconds(ways["scoring"], prompt, time.thread_time) for prompt in prompts]
    for prompt in prompts:
        for way, ask in ways.items():
            seconds[way].append(_seconds(ask, prompt, time.perf_counter))
    return _figures(name, seconds, on_core)


def _seconds(ask: Callable[[str], object], prompt: str, clock: Callable[[], float]) -> float:
    began = clock()
    ask(prompt)
    return clock() - began


def _figures(name: str, seconds: dict[str, list[float]], on_core: list[float]) -> list[Figure]:
    count, p50 = len(on_core), {way: percentile(measured, 0.5) for way, measured in seconds.items()}
    aim = _AIM_BUNDLED_MS if name == "bundled model" else ""
    return [
        Figure(f"{name}: JSON to scoring, p50", p50["JSON"] / p50["scoring"], "x", count, _AIM_RATIO),
        Figure(f"{name}: the same with a kept prefix", p50["JSON on a kept prefix"] / p50["scoring"], "x", count),
        Figure(f"{name}: scoring, p50 of the core's time", 1000 * percentile(on_core, 0.5), "ms", count, aim),
        Figure(f"{name}: scoring, p50", 1000 * p50["scoring"], "ms", count),
        Figure(f"{name}: scoring, p99", 1000 * percentile(seconds["scoring"], 0.99), "ms", count),
        Figure(f"{name}: JSON, p50", 1000 * p50["JSON"], "ms", count),
    ]


class _Json:
    """What most routers do: let the model write."""

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._frame = frame(Prompt(prompt.system, "", _ASK_FOR_JSON), tokenizer)
        with torch.inference_mode():
            self._kept = model(torch.tensor([self._frame.prefix]), use_cache=True).past_key_values

    def whole(self, text: str) -> object:
        """Write, having read everything."""
        return self._write(text, None)

    def on_kept_prefix(self, text: str) -> object:
        """Write, having read what differs; what was kept is cut back afterwards."""
        written = self._write(text, self._kept)
        self._kept.crop(len(self._frame.prefix) - self._kept.get_seq_length())
        return written

    @torch.inference_mode()
    def _write(self, text: str, cache: Any) -> object:
        ids = torch.tensor([self._frame.prefix + text_ids(text, self._tokenizer) + self._frame.suffix])
        return self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            do_sample=False,
            min_new_tokens=_JSON_TOKENS,
            max_new_tokens=_JSON_TOKENS,
            pad_token_id=0,
        )
