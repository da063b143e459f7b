"""The trained parts as one FluxPipeline folder."""

from pathlib import Path

import torch

from recipes.sketch.flow import averaged
from recipes.sketch.library import Autoencoder, FluxPipeline, Pipeline
from recipes.sketch.models import Painter, Tokenizers, build_scheduler


def load_painter(checkpoint: Path, tokenizers: Tokenizers) -> Painter:
    """The averaged weights of a training checkpoint, in fp32 on the CPU."""
    average = averaged(Painter(tokenizers))
    average.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    painter = average.module.eval()
    assert isinstance(painter, Painter)
    return painter


def assemble(painter: Painter, autoencoder: Autoencoder, tokenizers: Tokenizers) -> Pipeline:
    """A pipeline of the parts."""
    return FluxPipeline(
        scheduler=build_scheduler(),
        vae=autoencoder,
        text_encoder=painter.clip,
        tokenizer=tokenizers.clip,
        text_encoder_2=painter.t5,
        tokenizer_2=tokenizers.t5,
        transformer=painter.transformer,
    )


def export(pipeline: Pipeline, destination: Path) -> None:
    """Save in fp16 safetensors, which keep three more bits of a weight than bf16; load in bf16 or fp32."""
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        part.half()
    pipeline.save_pretrained(destination)
