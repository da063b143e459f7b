"""Writes the model of a run's last checkpoint, even while it trains: `python -m recipes.sketch_qwen.export`."""

import argparse
from pathlib import Path

import torch

from recipes.sketch_qwen.model import build_model, save
from recipes.sketch_qwen.train import OUTPUT, RUN, load_tokenizer


def main() -> None:
    """Read the checkpoint and write the model in transformers' format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.run)
    model = build_model(tokenizer)
    state = torch.load(options.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    save(model, tokenizer, options.output)
    print(f"step {state['step']} written to {options.output}")


if __name__ == "__main__":
    main()
