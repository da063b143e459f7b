"""The KL autoencoder: 96x96 pictures to 16 x 12 x 12 latents and back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recipes.scenes.canvas import SIZE, Picture
from recipes.scenes.scene import draw, is_held_out, sample
from recipes.sketch.budget import Budget
from recipes.sketch.library import Autoencoder, AutoencoderKL
from recipes.sketch.session import Session, autocast, device

LATENT_CHANNELS = 16
_BATCH = 8
_PEAK = 1e-3
_KL_WEIGHT = 3e-4
_EDGE_WEIGHT = 1.0
_EDGES_FROM = 0.05
_REPORT_EVERY = 100
_FIRST_LOG_VARIANCE = -5.0
_STATISTICS_BATCHES = 64


def build_autoencoder() -> Autoencoder:
    """An untrained autoencoder, narrow at full resolution, where a picture's cost lies."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=SIZE,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    with torch.no_grad():
        model.encoder.conv_out.bias[LATENT_CHANNELS:] = _FIRST_LOG_VARIANCE
    return model


def to_tensor(pictures: list[Picture]) -> Tensor:
    """Pictures as [batch, 3, height, width] in -1..1, on the training device."""
    stacked = torch.from_numpy(np.stack(pictures)).to(device())
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def training_pictures(first_seed: int, count: int) -> tuple[Tensor, int]:
    """`count` pictures outside the held-out part, from `first_seed` on, and the seed after the last."""
    pictures: list[Picture] = []
    seed = first_seed
    while len(pictures) < count:
        scene = sample(seed)
        seed += 1
        if not is_held_out(scene):
            pictures.append(draw(scene))
    return to_tensor(pictures), seed


def edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Differences between neighbours along rows and along columns."""
    return pictures.diff(dim=3), pictures.diff(dim=2)


def reconstruction_loss(drawn: Tensor, pictures: Tensor, edge_weight: float) -> Tensor:
    """Mean absolute and squared error of the pixels, and of their differences, which keeps edges sharp."""
    loss = functional.l1_loss(drawn, pictures) + functional.mse_loss(drawn, pictures)
    for ours, theirs in zip(edges(drawn), edges(pictures), strict=True):
        loss = loss + edge_weight * functional.l1_loss(ours, theirs)
    return loss


@dataclass(frozen=True)
class _Losses:
    """The parts of one batch's loss."""

    reconstruction: Tensor
    pixel: Tensor
    divergence: Tensor

    @property
    def total(self) -> Tensor:
        return self.reconstruction + _KL_WEIGHT * self.divergence


def _losses(model: Autoencoder, pictures: Tensor, edge_weight: float) -> _Losses:
    with autocast():
        posterior = model.encode(pictures).latent_dist
        drawn = model.decode(posterior.sample()).sample.float()
    return _Losses(
        reconstruction=reconstruction_loss(drawn, pictures, edge_weight),
        pixel=functional.l1_loss(drawn, pictures),
        divergence=posterior.kl().mean() / posterior.mean[0].numel(),
    )


def train_autoencoder(folder: Path, budget: Budget) -> Autoencoder:
    """Train within the budget, measure the latents' statistics and save in diffusers' format to `folder`/vae."""
    torch.manual_seed(0)
    session = Session(folder, budget)
    model = build_autoencoder().to(device())
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    seed = 0
    if (state := session.resume()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        seed = state["seed"]
    for step in session.steps():
        pictures, seed = training_pictures(seed, _BATCH)
        optimizer.param_groups[0]["lr"] = budget.learning_rate(_PEAK)
        losses = _losses(model, pictures, _EDGE_WEIGHT * min(1.0, budget.progress / _EDGES_FROM))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % _REPORT_EVERY == 0:
            session.report(
                reconstruction=losses.reconstruction.item(),
                pixel=losses.pixel.item(),
                kl=losses.divergence.item(),
                lr=optimizer.param_groups[0]["lr"],
                samples=float((step + 1) * _BATCH),
                step_seconds=budget.seconds / (step + 1),
            )
        if session.due():
            session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "seed": seed})
    session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "seed": seed})
    _save(model, folder)
    return model


@torch.no_grad()
def _save(model: Autoencoder, folder: Path) -> None:
    """Save with the shift and scale that bring the latents to mean 0 and deviation 1."""
    model.eval()
    batches = [training_pictures(10_000_000 + 100 * index, _BATCH)[0] for index in range(_STATISTICS_BATCHES)]
    latents = torch.cat([model.encode(batch).latent_dist.mode() for batch in batches])
    model.register_to_config(shift_factor=latents.mean().item(), scaling_factor=1 / latents.std().item())
    model.save_pretrained(folder / "vae")
    model.train()
