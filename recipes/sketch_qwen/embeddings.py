"""What each word is about, learnt cheaply: a bag-of-words classifier over the model's own token embeddings.

A text passes through it in microseconds. It gives the embeddings their start, and stays on as a second loss while the
transformer trains: words of a topic then point the same way, in prompts and in what a candidate is said to be good at,
long before the transformer has seen them all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from recipes.sketch.session import device
from recipes.sketch_qwen.lessons import TOPICS, Lessons

TEXTS = 256
"""Texts of a batch."""
_PEAK = 1e-2
_SPREAD = 0.06
"""Standard deviation of the embeddings, at the start and when learnt."""


class TopicBag(nn.Module):
    """Tells a text's topic from the mean of its embeddings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, width: int) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.head = nn.Linear(width, len(TOPICS))

    def loss(self, embeddings: Tensor, labelled: Sequence[tuple[str, str]]) -> Tensor:
        """Mean cross entropy of texts with their topics; `embeddings` is [vocabulary, width]."""
        texts, topics = zip(*labelled, strict=True)
        ids = self._tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        flat = torch.tensor([id for each in ids for id in each], device=embeddings.device)
        ends = torch.tensor([len(each) for each in ids], device=embeddings.device).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        scores = self.head(nn.functional.embedding_bag(flat, embeddings, starts, mode="mean"))
        right = torch.tensor([TOPICS.index(topic) for topic in topics], device=embeddings.device)
        return nn.functional.cross_entropy(scores, right)


def learn_embeddings(bag: TopicBag, vocabulary: int, lessons: Lessons, *, steps: int) -> Tensor:
    """Embeddings [vocabulary, width] from `steps` batches; `bag` learns along."""
    embeddings = nn.Parameter(torch.randn(vocabulary, bag.head.in_features, device=device()) * _SPREAD)
    optimizer = torch.optim.Adam([embeddings, *bag.parameters()], lr=_PEAK)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK, total_steps=steps)
    for _ in range(steps):
        value = bag.loss(embeddings, lessons.topics(TEXTS))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    learned = embeddings.detach()
    return (learned - learned.mean()) * (_SPREAD / learned.std())
