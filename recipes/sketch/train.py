"""Train the whole model: autoencoder, then text encoders and transformer, then the four specialists.

`python -m recipes.sketch.train --minutes 110` runs on the GPU where there is one, else on the CPU. Interrupted, it goes
on from the last checkpoint of each stage; the learning rate follows the time that is left. `--steps` bounds the flow
stage too, so that a faster machine can stop at the same number of samples.
"""

import argparse
import math
from pathlib import Path

from recipes.scenes.scene import FIELDS
from recipes.sketch.adapters import train_adapter
from recipes.sketch.autoencoder import train_autoencoder
from recipes.sketch.budget import Budget
from recipes.sketch.export import assemble, export, load_painter
from recipes.sketch.flow import train_painter
from recipes.sketch.models import Tokenizers
from recipes.sketch.tokens import make_clip_tokenizer, make_t5_tokenizer

_AUTOENCODER_SHARE = 0.25
_ADAPTER_SHARE = 0.02


def main() -> None:
    """Run every stage within the minutes given, and export to models/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=110.0)
    parser.add_argument("--steps", type=int, help="at most so many steps of the flow stage")
    parser.add_argument("--runs", type=Path, default=Path("runs/sketch"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    if not 0 < options.minutes < math.inf:
        parser.error(f"--minutes is {options.minutes}; it must be positive and finite")

    tokenizers = Tokenizers(make_t5_tokenizer(), make_clip_tokenizer())
    flow_share = 1 - _AUTOENCODER_SHARE - len(FIELDS) * _ADAPTER_SHARE
    autoencoder = train_autoencoder(options.runs / "autoencoder", Budget(_AUTOENCODER_SHARE * options.minutes))
    train_painter(options.runs / "flow", autoencoder, tokenizers, Budget(flow_share * options.minutes, options.steps))
    painter = load_painter(options.runs / "flow" / "checkpoint.pt", tokenizers)
    export(assemble(painter, autoencoder, tokenizers), options.models / "sketch")
    for field in FIELDS:
        train_adapter(field, options.models, options.runs, Budget(_ADAPTER_SHARE * options.minutes))


if __name__ == "__main__":
    main()
