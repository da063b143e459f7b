"""Trains the bundled language model: `python -m recipes.sketch_qwen.train --minutes 45`.

Runs on the GPU where there is one, else on the CPU; an interrupted run goes on where it was. The lessons are drawn
afresh for every step and never repeat, so the training loss is itself measured on unseen texts.
"""

import argparse
import math
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes.sketch.budget import Budget
from recipes.sketch.session import Session, autocast, device
from recipes.sketch_qwen.batches import Encoder, collate
from recipes.sketch_qwen.check import accuracy
from recipes.sketch_qwen.embeddings import TopicBag, learn_embeddings
from recipes.sketch_qwen.lessons import Lessons
from recipes.sketch_qwen.model import build_model, embeddings, loss, save
from recipes.sketch_qwen.tokenizer import train_tokenizer

RUN = Path("runs/sketch-qwen")
OUTPUT = Path("models/sketch-qwen")
LENGTH = 512
"""Tokens of a row."""
ROWS = 4
"""Rows of a batch."""
TEXTS = 24
"""Texts drawn for a row; those that do not fit are left out."""
EMBEDDING_STEPS = 1000
"""Batches from which a new run learns its first embeddings."""
BAG_TEXTS = 256
"""Texts of a batch that only the bag of words sees."""
BAG_SHARE = 0.3
"""Weight of the bag's loss beside the answers'."""
PEAK = 1.2e-3
"""Learning rate after the warm-up."""
WARM_UP = 60
"""Steps of the warm-up."""
REPORT_EVERY, CHECK_EVERY = 50, 500


def main() -> None:
    """Train for the time given and write the model."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = load_tokenizer(options.run, options.seed)
    model = build_model(tokenizer)
    nn.Module.to(model, device())
    train(model, tokenizer, Session(options.run, Budget(options.minutes, options.steps)), options.seed)
    save(model, tokenizer, options.output)


def load_tokenizer(run: Path, seed: int = 1) -> PreTrainedTokenizerFast:
    """The run's tokenizer; a new run trains one."""
    folder = run / "tokenizer"
    if not folder.exists():
        train_tokenizer(seed).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def train(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    session: Session,
    seed: int,
    *,
    embedding_steps: int = EMBEDDING_STEPS,
) -> None:
    """Train `model` in place until the session's budget is spent; a new run begins with the embeddings."""
    trainer = _Trainer(model, tokenizer)
    held_out = Lessons(seed + 1)
    if state := session.resume():
        trainer.load(state)
    else:
        trainer.start(Lessons(seed + 2), embedding_steps)
    lessons = Lessons(hash((seed, session.budget.step)))
    losses: list[float] = []
    for step in session.steps():
        rate = session.budget.learning_rate(PEAK, WARM_UP)
        losses.append(trainer.step(lessons, rate))
        if step % REPORT_EVERY == REPORT_EVERY - 1:
            session.report(loss=mean(losses), learning_rate=rate)
            losses.clear()
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            session.report(**accuracy(model, trainer.encoder, held_out))
        if session.due():
            session.save(trainer.state())
    session.save(trainer.state())


class _Trainer:
    """The model, the bag of words beside it, and their optimizer."""

    def __init__(self, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
        self.encoder = Encoder(tokenizer, LENGTH)
        self._model = model
        self._bag = TopicBag(tokenizer, model.config.hidden_size).to(device())
        groups: list[dict[str, Any]] = [{"params": list(part.parameters())} for part in (model, self._bag)]
        self._optimizer = AdamW(groups, lr=PEAK, betas=(0.9, 0.95), weight_decay=0.05)

    def start(self, lessons: Lessons, steps: int) -> None:
        """Give the embeddings their start."""
        weight = embeddings(self._model)
        weight.data.copy_(learn_embeddings(self._bag, weight.shape[0], lessons, steps=steps))

    def step(self, lessons: Lessons, rate: float) -> float:
        """One update at learning rate `rate`; returns the loss of the answers."""
        self._model.train()
        batch = collate([self.encoder.row(lessons.draw(TEXTS)) for _ in range(ROWS)], device())
        with autocast():
            value = loss(self._model, batch)
        words = self._bag.loss(embeddings(self._model), lessons.topics(BAG_TEXTS))
        (value + BAG_SHARE * words).backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return value.item()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "model": self._model.state_dict(),
            "bag": self._bag.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._model.load_state_dict(state["model"])
        self._bag.load_state_dict(state["bag"])
        self._optimizer.load_state_dict(state["optimizer"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="wall time of the whole run")
    parser.add_argument("--steps", type=int, help="updates of the whole run, if fewer than the time allows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--run", type=Path, default=RUN, help="checkpoints, tokenizer and TensorBoard scalars")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    if options.steps is None and not math.isfinite(options.minutes):
        parser.error("give --minutes, --steps or both")
    return options


if __name__ == "__main__":
    main()
