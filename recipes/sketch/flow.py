"""Joint training of the text encoders and the transformer by flow matching."""

import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recipes.sketch.budget import Budget
from recipes.sketch.library import Autoencoder
from recipes.sketch.models import GRID, TIME_SHIFT, Painter, Prompts, Tokenizers
from recipes.sketch.pool import LatentPool, PoolSize
from recipes.sketch.session import Session, autocast, device

BATCH = 48
EMPTY_SHARE = 0.1
_PEAK = 1e-3
_AVERAGING = 0.998
_REPORT_EVERY = 50
_FOCUS = 4.0
"""How much more the middle counts than the rim: a letter or a mouth is a small part of the squared error, but it is
what the caption asks for. A weight that depends on the place alone leaves the best prediction what it was."""


def flow_loss(painter: nn.Module, latents: Tensor, prompts: Prompts) -> Tensor:
    """Squared error of the velocity at uniform times, shifted towards noise as the scheduler shifts its steps.

    Flat pictures shine through much noise: what the caption must decide is decided above 0.9. The shift is that of
    Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", equation 23.
    """
    noise = torch.randn_like(latents)
    uniform = torch.rand(len(latents), device=latents.device)
    times = TIME_SHIFT * uniform / (1 + (TIME_SHIFT - 1) * uniform)
    share = times[:, None, None]
    with autocast(), sdpa_kernel(SDPBackend.MATH):  # at 76 tokens its backward pass is faster than the fused one
        velocity: Tensor = painter((1 - share) * latents + share * noise, times, prompts)
    error = functional.mse_loss(velocity.float(), noise - latents, reduction="none").mean(dim=(0, 2))
    return (error * focus().to(error.device)).mean()


def focus() -> Tensor:
    """The weight of each token of the picture, [GRID * GRID], with a mean of one: more within the outermost ring."""
    weights = torch.ones(GRID, GRID)
    weights[1:-1, 1:-1] = _FOCUS
    return (weights / weights.mean()).flatten()


def averaged(painter: Painter) -> AveragedModel:
    """A slowly following copy of the weights, which draws better than the last step's."""
    follow: Any = get_ema_multi_avg_fn  # torch leaves it untyped
    return AveragedModel(painter, multi_avg_fn=follow(_AVERAGING))


class _Trainer:
    """The painter, its average and the optimizer's state."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        self._tokenizers = tokenizers
        self._painter = Painter(tokenizers).to(device())
        self._average = averaged(self._painter)
        self._optimizer = torch.optim.AdamW(self._painter.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
        self._painter.transformer.compile()

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs to go on."""
        return {
            "painter": self._painter.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._painter.load_state_dict(state["painter"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])

    def step(self, latents: Tensor, captions: list[str], learning_rate: float) -> float:
        """One update; returns the batch's loss."""
        self._optimizer.param_groups[0]["lr"] = learning_rate
        loss = flow_loss(self._painter, latents, self._tokenizers.encode(captions, device()))
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._painter.parameters(), 1.0)
        self._optimizer.step()
        self._average.update_parameters(self._painter)
        return loss.item()


def train_painter(folder: Path, autoencoder: Autoencoder, tokenizers: Tokenizers, budget: Budget) -> None:
    """Train within the budget; the folder's checkpoint then holds the averaged weights."""
    torch.manual_seed(0)
    session = Session(folder, budget)
    trainer = _Trainer(tokenizers)
    first_seed = 0
    if (state := session.resume()) is not None:
        trainer.restore(state)
        first_seed = state["seed"]
    pool = LatentPool(autoencoder, PoolSize(), first_seed)
    rng = random.Random(first_seed)
    losses: list[float] = []
    started = time.monotonic()
    for step in session.steps():
        latents, captions = pool.batch(BATCH, EMPTY_SHARE, rng)
        learning_rate = budget.learning_rate(_PEAK)
        losses.append(trainer.step(latents, captions, learning_rate))
        if len(losses) == _REPORT_EVERY:
            session.report(
                loss=sum(losses) / len(losses),
                lr=learning_rate,
                step_seconds=(time.monotonic() - started) / len(losses),
                samples=float((step + 1) * BATCH),
            )
            losses, started = [], time.monotonic()
        if session.due():
            session.save({**trainer.state(), "seed": pool.seed})
    session.save({**trainer.state(), "seed": pool.seed})
