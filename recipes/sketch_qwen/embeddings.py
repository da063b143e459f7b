"""A start for the token embeddings: a bag-of-words classifier learns in seconds what each word is about.

From random embeddings the transformer needs most of its time to find out that words matter at all. From these, words of a
topic already point the same way, in the prompt and in what a candidate is said to be good at.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from recipes.sketch_qwen.lessons import TOPICS, Lessons

_TEXTS = 256
_PEAK = 1e-2
_SPREAD = 0.06
"""Standard deviation of what is returned."""


def learn_embeddings(tokenizer: PreTrainedTokenizerBase, lessons: Lessons, width: int, *, steps: int = 1000) -> Tensor:
    """Embeddings [vocabulary, width] whose mean over a text tells its topic; `steps` batches of 256 texts."""
    bag = nn.EmbeddingBag(len(tokenizer), width, mode="mean")
    head = nn.Linear(width, len(TOPICS))
    nn.init.normal_(bag.weight, std=_SPREAD)
    optimizer = torch.optim.Adam([*bag.parameters(), *head.parameters()], lr=_PEAK)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK, total_steps=steps)
    for _ in range(steps):
        texts, topics = zip(*lessons.topics(_TEXTS), strict=True)
        ids = [torch.tensor(each or [0]) for each in _tokens(tokenizer, texts)]
        starts = torch.tensor([0, *(len(each) for each in ids[:-1])]).cumsum(0)
        scores = head(bag(torch.cat(ids), starts))
        value = nn.functional.cross_entropy(scores, torch.tensor([TOPICS.index(topic) for topic in topics]))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    learned = bag.weight.detach()
    return (learned - learned.mean()) * (_SPREAD / learned.std())


def _tokens(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...]) -> list[list[int]]:
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
    return [list(each) for each in encoded["input_ids"]]
