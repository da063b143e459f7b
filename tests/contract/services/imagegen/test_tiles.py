"""A picture that does not fit into memory in one piece is decoded in tiles."""

# mypy: disable-error-code="no-any-return, attr-defined"

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from services.imagegen.engines.decoder import Decoder
from tests.contract.services.imagegen.test_memory_limit import limited

SIDE = 256
"""Latents of a side."""
MIB = 2**20
ROOMS = range(240 * MIB, 60 * MIB, -30 * MIB)
"""Bytes beyond what is taken already, from enough for one piece to too few for tiles of half its side."""


def autoencoder() -> AutoencoderKL:
    """Return one without attention, which over so many latents would take minutes."""
    return AutoencoderKL(
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        mid_block_add_attention=False,
    ).eval()


def tiny_autoencoder() -> AutoencoderTiny:
    """Return one that makes 8 pixels of a latent, a side: in tiles the library knows no other."""
    narrow = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    return AutoencoderTiny(num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4, **narrow).eval()


BOTH = pytest.mark.parametrize("vae", [autoencoder(), tiny_autoencoder()], ids=lambda vae: type(vae).__name__)


def test_a_picture_too_large_for_one_piece_is_nearly_the_same_in_tiles() -> None:
    command = [sys.executable, "-W", "ignore", "-m", __name__]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[4])
    told = json.loads(ran.stdout)

    assert (told["tiled"], told["shape"]) == (True, [3, 2 * SIDE, 2 * SIDE])
    assert told["apart"] < 0.05  # of 1: norms see a tile only
    assert told["tiled_again"] is False


@BOTH
def test_tiles_are_smaller_than_the_picture_and_make_all_of_it(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, sides, inner = Decoder(vae), list[int](), vae.decoder.forward

    def forward(latents: torch.Tensor) -> torch.Tensor:
        sides.append(latents.shape[-1])
        if latents.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        made: torch.Tensor = inner(latents)
        return made

    monkeypatch.setattr(vae.decoder, "forward", forward)
    with torch.inference_mode():
        images, tiled = decoder.decode(torch.randn(2, decoder.channels, 32, 32))

    assert (tiled, max(sides[1:])) == (True, 16)
    assert images.shape == (2, 3, 32 * decoder.factor, 32 * decoder.factor)
    assert not vae.use_tiling


@BOTH
def test_any_other_failure_is_no_reason_for_tiles(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, calls = Decoder(vae), list[int]()

    def fail(latents: torch.Tensor) -> None:
        calls.append(len(latents))
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(vae.decoder, "forward", fail)
    with pytest.raises(RuntimeError, match="lost"):
        decoder.decode(torch.zeros(1, decoder.channels, 8, 8))
    assert calls == [1]


def decode_with_ever_less_memory() -> dict[str, object]:
    """Decode the same latents under ever lower limits until they are decoded in tiles, and once more without one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    decoder = Decoder(autoencoder())
    latents = torch.nn.functional.interpolate(torch.randn(1, decoder.channels, 8, 8), SIDE, mode="bicubic")
    with torch.inference_mode():
        [whole], _ = decoder.decode(latents)
        for room in ROOMS:
            with limited(room):
                [image], tiled = decoder.decode(latents)
            if tiled:
                break
        _, tiled_again = decoder.decode(latents)
    apart = float((whole - image).abs().mean())
    return {"tiled": tiled, "shape": list(image.shape), "apart": apart, "tiled_again": tiled_again}


if __name__ == "__main__":
    print(json.dumps(decode_with_ever_less_memory()))
