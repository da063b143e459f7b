"""Our loop over XTTS's GPT says what upstream's says, however rows come and go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models.xtts import Xtts

from services.voice.engines.xtts import checkpoint, speakers
from services.voice.engines.xtts.gpt import GptBatch, Prompt
from services.voice.engines.xtts.sampling import Sampler, Sampling

NOISE = 1e-4
LENGTHS = (3, 25, 11)
TOKENS = 8


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return checkpoint.load(folder)


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[Prompt]:
    voice = speakers.read(folder)["Ada One"]
    return [Prompt(voice.conditioning, tuple(range(20, 20 + length)), ()) for length in LENGTHS]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def likeliest(batch: GptBatch, prompts: list[Prompt], tokens: int = TOKENS) -> tuple[list[list[int]], torch.Tensor]:
    """Continue rows with what is likeliest; return their tokens and latents (rows, tokens, width)."""
    heard = batch.add(prompts)
    codes: list[list[int]] = [[] for _ in prompts]
    latents = [heard.latents]
    for said in range(1, tokens):
        for row, logits in zip(codes, heard.logits, strict=True):
            row.append(int(logits.argmax()))
        heard = batch.step([row[-1] for row in codes], [said] * len(prompts))
        latents.append(heard.latents)
    return codes, torch.stack(latents, dim=1)


def test_it_says_what_upstream_says(model: Any, prompts: list[Prompt], folder: Path) -> None:
    config = XttsConfig()
    config.load_json(folder / "config.json")
    upstream = Xtts(config)
    upstream.load_checkpoint(config, checkpoint_dir=folder, eval=True)
    prefix = upstream.gpt.compute_embeddings(prompts[1].conditioning[None], torch.tensor([prompts[1].text]))
    options = {"do_sample": True, "top_k": 1, "repetition_penalty": 1.0, "num_beams": 1, "output_hidden_states": True}
    theirs = upstream.gpt.get_generator(fake_inputs=prefix, return_dict_in_generate=True, **options)
    tokens, latents = zip(*(next(theirs) for _ in range(TOKENS)), strict=True)
    codes, ours = likeliest(GptBatch(model.gpt), [prompts[1]])
    assert codes[0] == [int(token) for token in tokens[:-1]]
    assert torch.allclose(ours[0], torch.cat(latents), atol=NOISE)


def test_a_batch_is_its_rows_one_by_one(model: Any, prompts: list[Prompt]) -> None:
    codes, latents = likeliest(GptBatch(model.gpt), prompts)
    for row, prompt in enumerate(prompts):
        own_codes, own_latents = likeliest(GptBatch(model.gpt), [prompt])
        assert codes[row] == own_codes[0]
        assert torch.allclose(latents[row], own_latents[0], atol=NOISE)


def test_rows_come_and_go_between_tokens(model: Any, prompts: list[Prompt]) -> None:
    codes, latents = likeliest(GptBatch(model.gpt), [prompts[1]])
    batch = GptBatch(model.gpt)
    batch.add([prompts[0], prompts[1]])
    batch.step([5, codes[0][0]], [1, 1])
    batch.remove(0)  # the second row takes its place
    batch.add([prompts[2]])
    heard = batch.step([codes[0][1], 7], [2, 1])
    assert torch.allclose(heard.latents[0], latents[0, 2], atol=NOISE)


def test_what_was_said_can_be_taken_up_elsewhere(model: Any, prompts: list[Prompt]) -> None:
    codes, latents = likeliest(GptBatch(model.gpt), [prompts[1]])
    resumed = Prompt(prompts[1].conditioning, prompts[1].text, codes[0])
    heard = GptBatch(model.gpt).add([resumed, prompts[0]])
    assert torch.allclose(heard.latents[0], latents[0, -1], atol=NOISE)


def test_rows_grow_beyond_the_room_that_was_made(model: Any, prompts: list[Prompt]) -> None:
    batch = GptBatch(model.gpt)
    batch.add([prompts[1]])
    for _ in range(150):
        heard = batch.step([5], [3])
    assert torch.isfinite(heard.logits).all()


def test_sampling_is_that_of_transformers() -> None:
    """The same penalty, temperature, top-k and top-p: what can be drawn is what upstream's processors leave."""
    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    torch.manual_seed(3)
    logits, seen = torch.randn(200) * 3, [1, 7, 9]
    scores = RepetitionPenaltyLogitsProcessor(5.0)(torch.tensor([seen]), logits[None])
    for warp in (TemperatureLogitsWarper(0.75), TopKLogitsWarper(50), TopPLogitsWarper(0.85)):
        scores = warp(None, scores)
    expected = scores.softmax(-1)[0]
    counts = torch.zeros(200)
    for seed in range(4000):
        counts[Sampler(Sampling(0.75, 50, 0.85, 5.0), seed, 200, seen).draw(logits)] += 1
    assert set(counts.nonzero().flatten().tolist()) <= set(expected.nonzero().flatten().tolist())
    assert (counts / 4000 - expected).abs().max() < 0.03
