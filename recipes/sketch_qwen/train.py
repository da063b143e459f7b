"""Trains the bundled language model: `python -m recipes.sketch_qwen.train --minutes 45`.

Runs on the GPU where there is one, else on the CPU; an interrupted run goes on where it was. The lessons are drawn
afresh for every step and never repeat, so the training loss is itself measured on unseen texts.
"""

import argparse
import math
from pathlib import Path

import torch
from torch.optim import AdamW
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes.sketch.budget import Budget
from recipes.sketch.session import Session, autocast, device
from recipes.sketch_qwen.batches import Encoder, collate
from recipes.sketch_qwen.check import accuracy
from recipes.sketch_qwen.embeddings import learn_embeddings
from recipes.sketch_qwen.lessons import Lesson, Lessons
from recipes.sketch_qwen.model import build_model, loss, save
from recipes.sketch_qwen.tokenizer import train_tokenizer

RUN = Path("runs/sketch-qwen")
OUTPUT = Path("models/sketch-qwen")
LENGTH = 512
"""Tokens of a row."""
ROWS = 4
"""Rows of a batch."""
TEXTS = 24
"""Texts drawn for a row; those that do not fit are left out."""
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
    model = build_model(tokenizer).to(device())
    train(model, tokenizer, Session(options.run, Budget(options.minutes, options.steps)), options.seed)
    save(model, tokenizer, options.output)


def load_tokenizer(run: Path, seed: int) -> PreTrainedTokenizerFast:
    """The run's tokenizer; a new run trains one."""
    folder = run / "tokenizer"
    if not folder.exists():
        train_tokenizer(seed).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def train(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, session: Session, seed: int) -> None:
    """Train `model` in place until the session's budget is spent."""
    optimizer = AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.95), weight_decay=0.05)
    encoder = Encoder(tokenizer, LENGTH)
    held_out = Lessons(seed + 1)
    if state := session.resume():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    else:
        embeddings = learn_embeddings(tokenizer, Lessons(seed + 2), model.config.hidden_size)
        model.get_input_embeddings().weight.data.copy_(embeddings)
    lessons = Lessons(hash((seed, session.budget.step)))
    total = 0.0
    for step in session.steps():
        for group in optimizer.param_groups:
            group["lr"] = session.budget.learning_rate(PEAK, WARM_UP)
        total += _step(model, optimizer, encoder, [lessons.draw(TEXTS) for _ in range(ROWS)])
        if step % REPORT_EVERY == REPORT_EVERY - 1:
            session.report(loss=total / REPORT_EVERY, learning_rate=optimizer.param_groups[0]["lr"])
            total = 0.0
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            session.report(**accuracy(model, encoder, held_out))
        if session.due():
            session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})


def _step(model: Qwen2ForCausalLM, optimizer: AdamW, encoder: Encoder, lessons: list[Lesson]) -> float:
    """One update; returns the loss."""
    model.train()
    batch = collate([encoder.row(lesson) for lesson in lessons], device())
    with autocast():
        value = loss(model, batch)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return value.item()


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
