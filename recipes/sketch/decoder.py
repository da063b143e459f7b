"""A second round for the autoencoder's decoder alone: sharper faces and letters, the latents unchanged.

The encoder is frozen, so this may run beside or after the training that uses its latents.
"""

import random
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from recipes.scenes.canvas import Picture
from recipes.scenes.scene import draw, is_held_out, sample
from recipes.sketch.autoencoder import edges, to_tensor
from recipes.sketch.budget import Budget
from recipes.sketch.library import Autoencoder, AutoencoderKL
from recipes.sketch.session import Session, autocast, device

_BATCH = 8
_PEAK = 7e-4
_DETAIL_WEIGHT = 4.0
_LATENT_NOISE = 0.05
_REPORT_EVERY = 100
_FIRST_SEED = 50_000_000
_DETAILED = ("portrait", "landscape", "portrait", "landscape", "logo", "poster")


def detail_loss(drawn: Tensor, pictures: Tensor) -> Tensor:
    """Mean absolute error of pixels and edges, heavier where the picture has fine detail."""
    across, down = (edge.abs().mean(dim=1, keepdim=True) for edge in edges(pictures))
    strength = functional.pad(across, (0, 1)) + functional.pad(down, (0, 0, 0, 1))
    weight = 1 + _DETAIL_WEIGHT * functional.avg_pool2d(strength, 5, stride=1, padding=2).clamp(max=1)
    loss = (weight * (drawn - pictures).abs()).mean()
    for ours, theirs in zip(edges(drawn), edges(pictures), strict=True):
        loss = loss + functional.l1_loss(ours, theirs)
    return loss


def train_decoder(source: Path, folder: Path, budget: Budget) -> None:
    """Go on training the decoder of `source`; the whole autoencoder is saved to `folder`/vae."""
    torch.manual_seed(0)
    session = Session(folder, budget)
    model = AutoencoderKL.from_pretrained(source).to(device())
    model.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.decoder.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    seed = _FIRST_SEED
    if (state := session.resume()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        seed = state["seed"]
    for step in session.steps():
        pictures, seed = _pictures(seed)
        optimizer.param_groups[0]["lr"] = budget.learning_rate(_PEAK)
        loss = detail_loss(_redrawn(model, pictures), pictures)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        optimizer.step()
        if step % _REPORT_EVERY == 0:
            session.report(loss=loss.item(), lr=optimizer.param_groups[0]["lr"])
        if session.due():
            session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "seed": seed})
    session.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "seed": seed})
    model.save_pretrained(folder / "vae")


def _redrawn(model: Autoencoder, pictures: Tensor) -> Tensor:
    """The pictures decoded from their latents under a little noise, as the flow model's latents have."""
    with autocast():
        with torch.no_grad():
            latents = model.encode(pictures).latent_dist.mode()
            latents = latents + _LATENT_NOISE / model.config.scaling_factor * torch.randn_like(latents)
        decoded: Tensor = model.decode(latents).sample
    return decoded.float()


def _pictures(seed: int) -> tuple[Tensor, int]:
    """A batch with more of the detailed fields, and the seed after it."""
    pictures: list[Picture] = []
    while len(pictures) < _BATCH:
        scene = sample(seed, random.Random(seed).choice(_DETAILED))
        seed += 1
        if not is_held_out(scene):
            pictures.append(draw(scene))
    return to_tensor(pictures), seed
