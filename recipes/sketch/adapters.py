"""The four specialists: LoRA adapters on the base model, each trained on the scenes of its own field.

`python -m recipes.sketch.adapters --minutes 10` trains all four on the exported base model.
"""

import argparse
import random
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict

from recipes.scenes.scene import FIELDS
from recipes.sketch.budget import Budget
from recipes.sketch.flow import BATCH, EMPTY_SHARE, flow_loss
from recipes.sketch.library import FluxPipeline, Pipeline
from recipes.sketch.models import Painter, Tokenizers
from recipes.sketch.painting import load
from recipes.sketch.pool import LatentPool, PoolSize
from recipes.sketch.session import Session, device

RANK = 8
_PEAK = 6e-4
_REPORT_EVERY = 20
_FIRST_SEED = 100_000_000
_POOL = PoolSize(capacity=8_000, first=2_000)
_TARGETS = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_add_out",
    "proj_mlp",
    "proj_out",
]


def train_adapter(field: str, models: Path, runs: Path, budget: Budget, size: PoolSize = _POOL) -> None:
    """Train one field's adapter on `models`/sketch within the budget and save it to `models`/sketch-`field`."""
    torch.manual_seed(0)
    pipeline = load(models / "sketch")
    painter = _adaptable(pipeline)
    weights = [weight for weight in painter.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.99), weight_decay=0.0)
    session = Session(runs / f"adapter-{field}", budget)
    if (state := session.resume()) is not None:
        painter.load_state_dict(state["weights"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
    pool = LatentPool(pipeline.vae, size, _FIRST_SEED, field)
    tokenizers = Tokenizers(pipeline.tokenizer_2, pipeline.tokenizer)
    rng = random.Random(0)
    losses: list[float] = []
    for _ in session.steps():
        latents, captions = pool.batch(BATCH, EMPTY_SHARE, rng)
        optimizer.param_groups[0]["lr"] = budget.learning_rate(_PEAK, warmup_steps=20)
        loss = flow_loss(painter, latents, tokenizers.encode(captions, device()))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == _REPORT_EVERY:
            session.report(loss=sum(losses) / len(losses), lr=optimizer.param_groups[0]["lr"])
            losses = []
    trained = {name: weight for name, weight in painter.named_parameters() if weight.requires_grad}
    session.save({"weights": trained, "optimizer": optimizer.state_dict()})
    _save(painter, models / f"sketch-{field}")


def _adaptable(pipeline: Pipeline) -> Painter:
    """The pipeline's parts as a painter of which only new low-rank weights learn."""
    painter = Painter(Tokenizers(pipeline.tokenizer_2, pipeline.tokenizer))
    painter.t5, painter.clip, painter.transformer = pipeline.text_encoder_2, pipeline.text_encoder, pipeline.transformer
    painter.requires_grad_(False)
    painter.transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=_TARGETS))
    return painter.to(device())


def _save(painter: Painter, folder: Path) -> None:
    layers = {name: weight.half() for name, weight in get_peft_model_state_dict(painter.transformer).items()}
    FluxPipeline.save_lora_weights(folder, transformer_lora_layers=layers)


def main() -> None:
    """Train all four adapters, or the fields named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all the fields together")
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    parser.add_argument("--runs", type=Path, default=Path("runs/sketch"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    for field in options.fields:
        train_adapter(field, options.models, options.runs, Budget(options.minutes / len(options.fields)))


if __name__ == "__main__":
    main()
