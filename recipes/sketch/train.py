"""Train the model: autoencoder, then text encoders and transformer, then the decoder again, then the four specialists.

`python -m recipes.sketch.train --minutes 110` runs on the GPU where there is one, else on the CPU. Interrupted, it goes
on from the last checkpoint of each stage; the learning rate follows the time that is left. `--steps` bounds the flow
stage too, so that a faster machine can stop at the same number of samples.

`--stages adopt flow decoder export` trains the exported model further, in a fresh folder of runs.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPTokenizer, T5Tokenizer

from recipes.scenes.scene import FIELDS
from recipes.sketch.adapters import train_adapter
from recipes.sketch.autoencoder import train_autoencoder
from recipes.sketch.budget import Budget
from recipes.sketch.decoder import train_decoder
from recipes.sketch.export import assemble, export, load_painter
from recipes.sketch.flow import PEAK, train_painter
from recipes.sketch.library import AutoencoderKL
from recipes.sketch.models import Tokenizers, painter_of
from recipes.sketch.painting import load
from recipes.sketch.tokens import make_clip_tokenizer, make_t5_tokenizer

_SEED_OF_ADOPTED = 2_000_000
"""First scene of further training: its model has not seen those from here on."""


@dataclass(frozen=True)
class Plan:
    """Where the stages read and write, and the minutes for all of them."""

    runs: Path
    models: Path
    minutes: float
    steps: int | None
    peak: float

    @property
    def _start(self) -> Path:
        return self.runs / "adopted.pt"

    def adopt(self) -> None:
        """The exported model, in the place of what the first stage makes and as what the second begins with."""
        pipeline = load(self.models / "sketch")
        tokenizers = Tokenizers(pipeline.tokenizer_2, pipeline.tokenizer)
        pipeline.vae.save_pretrained(self.runs / "autoencoder" / "vae")
        save_tokenizers(tokenizers, self.runs / "tokenizers")
        painter = painter_of(pipeline, tokenizers)
        torch.save({"painter": painter.state_dict(), "seed": _SEED_OF_ADOPTED}, self._start)

    def autoencoder(self) -> None:
        """Pictures to latents and back."""
        train_autoencoder(self.runs / "autoencoder", Budget(0.22 * self.minutes))

    def flow(self) -> None:
        """Captions to latents."""
        autoencoder = AutoencoderKL.from_pretrained(self.runs / "autoencoder" / "vae")
        budget = Budget(0.6 * self.minutes, self.steps)
        tokenizers = kept_tokenizers(self.runs / "tokenizers")
        start = self._start if self._start.exists() else None
        train_painter(self.runs / "flow", autoencoder, tokenizers, budget, self.peak, start)

    def decoder(self) -> None:
        """Sharper pictures from the same latents."""
        train_decoder(self.runs / "autoencoder" / "vae", self.runs / "decoder", Budget(0.1 * self.minutes))

    def export(self) -> None:
        """The base model as it is served."""
        tokenizers = kept_tokenizers(self.runs / "tokenizers")
        painter = load_painter(self.runs / "flow" / "checkpoint.pt", tokenizers)
        autoencoder = AutoencoderKL.from_pretrained(self.runs / "decoder" / "vae")
        export(assemble(painter, autoencoder, tokenizers), self.models / "sketch")

    def adapters(self) -> None:
        """The four specialists."""
        for field in FIELDS:
            train_adapter(field, self.models, self.runs, Budget(0.08 * self.minutes / len(FIELDS)))


def kept_tokenizers(folder: Path) -> Tokenizers:
    """The run's tokenizers, made once: the BPE trainer numbers single characters differently in every process."""
    if not folder.exists():
        save_tokenizers(Tokenizers(make_t5_tokenizer(), make_clip_tokenizer()), folder)
    return Tokenizers(T5Tokenizer.from_pretrained(folder / "t5"), CLIPTokenizer.from_pretrained(folder / "clip"))


def save_tokenizers(tokenizers: Tokenizers, folder: Path) -> None:
    """Keep tokenizers with a run."""
    tokenizers.t5.save_pretrained(folder / "t5")
    tokenizers.clip.save_pretrained(folder / "clip")


def _stages(plan: Plan) -> dict[str, Callable[[], None]]:
    stages = (plan.adopt, plan.autoencoder, plan.flow, plan.decoder, plan.export, plan.adapters)
    return {stage.__name__: stage for stage in stages}


def main() -> None:
    """Run the stages within the minutes given."""
    names = ["autoencoder", "flow", "decoder", "export", "adapters"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=110.0, help="for all stages; each has its share")
    parser.add_argument("--steps", type=int, help="at most so many steps of the flow stage")
    parser.add_argument("--peak", type=float, default=PEAK, help="highest learning rate of the flow stage")
    parser.add_argument("--stages", nargs="+", choices=["adopt", *names], default=names)
    parser.add_argument("--runs", type=Path, default=Path("runs/sketch"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf:
        parser.error(f"--minutes is {options.minutes}; it must be positive and finite")
    stages = _stages(Plan(options.runs, options.models, options.minutes, options.steps, options.peak))
    for name in options.stages:
        stages[name]()


if __name__ == "__main__":
    main()
