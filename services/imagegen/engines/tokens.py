"""How long a prompt is to the text encoders of a pipeline."""

from collections.abc import Callable
from typing import Any


def token_counter(pipeline: Any) -> Callable[[str], int]:
    """Return the function that counts the tokens of a prompt, marks of start and end included.

    Of several tokenizers the last one counts: diffusers numbers them, the encoder that reads the most last. Without a
    tokenizer every prompt has 0 tokens.
    """
    parts = pipeline.components.items()
    tokenizers = [part for name, part in sorted(parts) if name.startswith("tokenizer") and part is not None]
    if not tokenizers:
        return lambda _prompt: 0
    return lambda prompt: len(tokenizers[-1](prompt).input_ids)
