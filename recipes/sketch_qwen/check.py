"""How many answers a model gets right on lessons it has not seen."""

import torch
from transformers import Qwen2ForCausalLM

from recipes.sketch.session import device
from recipes.sketch_qwen.batches import Encoder, collate
from recipes.sketch_qwen.lessons import Lesson, Lessons
from recipes.sketch_qwen.model import logits


def accuracy(model: Qwen2ForCausalLM, encoder: Encoder, lessons: Lessons, rounds: int = 6) -> dict[str, float]:
    """Share of right answer tokens by task, 0 to 1, over `rounds` lessons of each."""
    kinds = {"selection": lessons.selection, "safety": lessons.safety, "rewriting": lessons.rewriting}
    return {name: right(model, encoder, [draw(24) for _ in range(rounds)]) for name, draw in kinds.items()}


@torch.inference_mode()
def right(model: Qwen2ForCausalLM, encoder: Encoder, lessons: list[Lesson]) -> float:
    """Share of answer tokens that the model would choose, 0 to 1."""
    model.eval()
    batch = collate([encoder.row(lesson) for lesson in lessons], device())
    chosen = logits(model, batch).argmax(-1)
    return (chosen == batch.targets).float().mean().item()
