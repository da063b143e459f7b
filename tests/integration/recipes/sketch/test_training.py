"""The recipe end to end, a few steps of each stage: it learns, resumes and exports."""

import random
from pathlib import Path

import pytest
import torch

from recipes.sketch.adapters import train_adapter
from recipes.sketch.autoencoder import build_autoencoder, train_autoencoder, training_pictures
from recipes.sketch.budget import Budget
from recipes.sketch.decoder import train_decoder
from recipes.sketch.evaluate import as_json, generator, held_out_cases, overall, score, untrained
from recipes.sketch.export import assemble, export
from recipes.sketch.flow import flow_loss, focus
from recipes.sketch.library import Autoencoder, AutoencoderKL, FluxPipeline
from recipes.sketch.models import Painter, Tokenizers, pack
from recipes.sketch.painting import Settings, load, paint
from recipes.sketch.pool import LatentPool, PoolSize, encode
from recipes.sketch.tokens import make_clip_tokenizer, make_t5_tokenizer
from recipes.sketch.train import kept_tokenizers

CPU = torch.device("cpu")
LETTERS = "a red star logo with the letter Q, a white B"
# torch says so wherever bf16 activations meet fp32 norms under autocast
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")


@pytest.fixture
def autoencoder() -> Autoencoder:
    model = build_autoencoder()
    model.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    return model


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    return Tokenizers(make_t5_tokenizer(), make_clip_tokenizer())


def test_the_autoencoder_learns_and_resumes(tmp_path: Path) -> None:
    train_autoencoder(tmp_path, Budget(steps=2))
    resumed = Budget(steps=4)
    model = train_autoencoder(tmp_path, resumed)
    assert resumed.step == 4
    latents = encode(model, training_pictures(0, 8)[0])
    assert latents.shape == (8, 36, 64)
    assert (tmp_path / "vae" / "config.json").exists()


def test_the_decoder_is_refined_while_the_latents_stay(tmp_path: Path, autoencoder: Autoencoder) -> None:
    autoencoder.save_pretrained(tmp_path / "before")
    train_decoder(tmp_path / "before", tmp_path, Budget(steps=2))
    after = AutoencoderKL.from_pretrained(tmp_path / "vae")
    pictures = training_pictures(0, 4)[0]
    assert torch.equal(encode(autoencoder.eval(), pictures), encode(after.eval(), pictures))
    latents = torch.randn(1, 16, 12, 12)
    assert not torch.equal(autoencoder.decode(latents).sample, after.decode(latents).sample)


def test_packing_is_the_pipelines() -> None:
    latents = torch.randn(2, 16, 12, 12)
    assert torch.equal(pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 12, 12))


def test_the_pool_stays_within_its_size_and_empties_some_captions(autoencoder: Autoencoder) -> None:
    pool = LatentPool(autoencoder, PoolSize(capacity=24, first=16, fresh=8), 0, "logo")
    latents, captions = pool.batch(40, 0.5, random.Random(0))
    assert latents.shape == (40, 36, 64)
    assert 8 <= captions.count("") <= 32
    assert pool.seed >= 24


def test_gradients_reach_every_part(tokenizers: Tokenizers) -> None:
    painter = Painter(tokenizers)
    prompts = tokenizers.encode(["a red star logo", "a lake"], torch.device("cpu"))
    torch.autograd.backward(flow_loss(painter, torch.randn(2, 36, 64), prompts))
    for part in (painter.t5, painter.clip, painter.transformer):
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in part.parameters())


def test_the_middle_counts_more_and_the_mean_is_one() -> None:
    weights = focus().reshape(6, 6)
    assert weights.mean().item() == pytest.approx(1.0)
    assert weights[2, 3] > weights[0, 3] == weights[5, 5]


def test_an_exported_model_is_loaded_adapted_and_drawn_with(
    tmp_path: Path, tokenizers: Tokenizers, autoencoder: Autoencoder
) -> None:
    export(assemble(Painter(tokenizers), autoencoder, tokenizers), tmp_path / "sketch")
    train_adapter("logo", tmp_path, tmp_path / "runs", Budget(steps=1), PoolSize(capacity=64, first=16))
    pipeline = load(tmp_path / "sketch")
    pipeline.load_lora_weights(tmp_path / "sketch-logo")
    assert len(paint(untrained(pipeline), ["a lake", "a star"], [0, 1], Settings(steps=1))) == 2


def test_a_run_keeps_its_tokenizers(tmp_path: Path) -> None:
    first, again = (kept_tokenizers(tmp_path / "tokenizers") for _ in range(2))
    assert first.encode([LETTERS], CPU).clip.tolist() == again.encode([LETTERS], CPU).clip.tolist()
    assert first.encode([LETTERS], CPU).t5.tolist() == again.encode([LETTERS], CPU).t5.tolist()


def test_the_generator_is_the_ceiling() -> None:
    cases = held_out_cases("poster", 20)
    result = score(cases, generator(cases))
    assert overall(result) > 0.95
    assert as_json({"generator": result}, Settings(), len(cases))["values"] == {"generator": round(overall(result), 4)}
