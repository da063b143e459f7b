"""Train the model: autoencoder, then text encoders and transformer, then the decoder again, then the four specialists.

`python -m recipes.sketch.train --minutes 110` runs on the GPU where there is one, else on the CPU. Interrupted, it goes
on from the last checkpoint of each stage; the learning rate follows the time that is left. `--steps` bounds the flow
stage too, so that a faster machine can stop at the same number of samples.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import CLIPTokenizer, T5Tokenizer

from recipes.scenes.scene import FIELDS
from recipes.sketch.adapters import train_adapter
from recipes.sketch.autoencoder import train_autoencoder
from recipes.sketch.budget import Budget
from recipes.sketch.decoder import train_decoder
from recipes.sketch.export import assemble, export, load_painter
from recipes.sketch.flow import train_painter
from recipes.sketch.library import AutoencoderKL
from recipes.sketch.models import Tokenizers
from recipes.sketch.tokens import make_clip_tokenizer, make_t5_tokenizer


@dataclass(frozen=True)
class Plan:
    """Where the stages read and write, and the minutes for all of them."""

    runs: Path
    models: Path
    minutes: float
    steps: int | None

    def autoencoder(self) -> None:
        """Pictures to latents and back."""
        train_autoencoder(self.runs / "autoencoder", Budget(0.22 * self.minutes))

    def flow(self) -> None:
        """Captions to latents."""
        autoencoder = AutoencoderKL.from_pretrained(self.runs / "autoencoder" / "vae")
        budget = Budget(0.6 * self.minutes, self.steps)
        train_painter(self.runs / "flow", autoencoder, kept_tokenizers(self.runs / "tokenizers"), budget)

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
        make_t5_tokenizer().save_pretrained(folder / "t5")
        make_clip_tokenizer().save_pretrained(folder / "clip")
    return Tokenizers(T5Tokenizer.from_pretrained(folder / "t5"), CLIPTokenizer.from_pretrained(folder / "clip"))


def _stages(plan: Plan) -> dict[str, Callable[[], None]]:
    stages = (plan.autoencoder, plan.flow, plan.decoder, plan.export, plan.adapters)
    return {stage.__name__: stage for stage in stages}


def main() -> None:
    """Run the stages within the minutes given."""
    names = ["autoencoder", "flow", "decoder", "export", "adapters"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=110.0, help="for all stages; each has its share")
    parser.add_argument("--steps", type=int, help="at most so many steps of the flow stage")
    parser.add_argument("--stages", nargs="+", choices=names, default=names)
    parser.add_argument("--runs", type=Path, default=Path("runs/sketch"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf:
        parser.error(f"--minutes is {options.minutes}; it must be positive and finite")
    stages = _stages(Plan(options.runs, options.models, options.minutes, options.steps))
    for name in options.stages:
        stages[name]()


if __name__ == "__main__":
    main()
