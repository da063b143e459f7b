"""Joint training of the text encoders and the transformer by flow matching."""

import random
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recipes.sketch.budget import Budget
from recipes.sketch.models import Painter, Prompts, Tokenizers
from recipes.sketch.pool import LatentPool, PoolSize
from recipes.sketch.session import Session, autocast, device

BATCH = 48
EMPTY_SHARE = 0.1
_PEAK = 1.2e-3
_AVERAGING = 0.998
_REPORT_EVERY = 50


def flow_loss(painter: nn.Module, latents: Tensor, prompts: Prompts) -> Tensor:
    """Squared error of the velocity at logit-normal times (Esser et al. 2024, "Scaling rectified flow transformers")."""
    noise = torch.randn_like(latents)
    times = torch.sigmoid(torch.randn(len(latents), device=latents.device))
    share = times[:, None, None]
    with autocast(), sdpa_kernel(SDPBackend.MATH):
        velocity = painter((1 - share) * latents + share * noise, times, prompts)
    return (velocity.float() - (noise - latents)).square().mean()


def averaged(painter: Painter) -> AveragedModel:
    """A slowly following copy of the weights, which draws better than the last step's."""
    return AveragedModel(painter, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGING))


def train_painter(folder: Path, autoencoder: AutoencoderKL, tokenizers: Tokenizers, budget: Budget) -> None:
    """Train within the budget; the folder's checkpoint then holds the averaged weights."""
    torch.manual_seed(0)
    session = Session(folder, budget)
    painter = Painter(tokenizers).to(device())
    average = averaged(painter)
    optimizer = torch.optim.AdamW(painter.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    first_seed = 0
    if (state := session.resume()) is not None:
        painter.load_state_dict(state["painter"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first_seed = state["seed"]
    painter.transformer.compile()
    pool = LatentPool(autoencoder, PoolSize(), first_seed)
    rng = random.Random(first_seed)

    def snapshot() -> dict[str, Any]:
        return {
            "painter": painter.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "seed": pool.seed,
        }

    losses: list[float] = []
    started = time.monotonic()
    for step in session.steps():
        latents, captions = pool.batch(BATCH, EMPTY_SHARE, rng)
        optimizer.param_groups[0]["lr"] = budget.learning_rate(_PEAK)
        loss = flow_loss(painter, latents, tokenizers.encode(captions, device()))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(painter)
        losses.append(loss.item())
        if len(losses) == _REPORT_EVERY:
            session.report(
                loss=sum(losses) / len(losses),
                lr=optimizer.param_groups[0]["lr"],
                step_seconds=(time.monotonic() - started) / len(losses),
                samples=float((step + 1) * BATCH),
            )
            losses, started = [], time.monotonic()
        if session.due():
            session.save(snapshot())
    session.save(snapshot())
