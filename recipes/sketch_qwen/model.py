"""The model: Qwen2's architecture at 3.2 million parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from recipes.sketch_qwen.batches import Batch

_SPREAD = 0.06
"""Standard deviation of the first weights: at this width, the usual 0.02 leaves the layers nearly silent for long."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width, depth and context of the model."""

    hidden: int = 192
    layers: int = 4
    heads: int = 6
    key_value_heads: int = 3
    feed_forward: int = 512
    context: int = 2048


def build_model(tokenizer: PreTrainedTokenizerFast, size: Size = Size()) -> Qwen2ForCausalLM:
    """An untrained model for the vocabulary of `tokenizer`; seed torch first."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        initializer_range=_SPREAD,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def embeddings(model: Qwen2ForCausalLM) -> nn.Parameter:
    """The token embeddings, [vocabulary, width], which are the output's weights too."""
    weight: nn.Parameter = model.model.embed_tokens.weight
    return weight


def logits(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Scores of the next token, [targets, vocabulary], only where the batch asks for one."""
    hidden = model.model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    return torch.as_tensor(model.lm_head(hidden[batch.rows, batch.columns]))


def loss(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Cross entropy per token, averaged over each answer, then over the answers."""
    values = nn.functional.cross_entropy(logits(model, batch).float(), batch.targets, reduction="none")
    return (values * batch.weights).sum() / batch.weights.sum()


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in bfloat16 and its tokenizer in transformers' format; `model` keeps its weights and dtype."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items() if name != "lm_head.weight"}
    copy: Any = Qwen2ForCausalLM(model.config)
    copy.to(torch.bfloat16)
    copy.load_state_dict(weights, strict=False)
    copy.tie_weights()
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
