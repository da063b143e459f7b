"""How well pictures follow prompts: attributes of held-out scenes, read back from pixels by program.

`python -m recipes.sketch.evaluate` prints a table, writes bench/results/eval_sketch.json and contact sheets.
"""

import argparse
import json
import os
import platform
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from recipes.scenes.canvas import Picture
from recipes.scenes.captions import caption
from recipes.scenes.reading import verdicts
from recipes.scenes.scene import FIELDS, Scene, draw, field_of, is_held_out, sample
from recipes.sketch.autoencoder import to_tensor
from recipes.sketch.library import FluxPipeline, Pipeline
from recipes.sketch.models import Painter, Tokenizers
from recipes.sketch.painting import Settings, load, paint
from recipes.sketch.sheets import save_sheet

_FIRST_SEED = 1_000_000_000
_BATCH = 12
_AIM = 0.9
_ON_A_SHEET = 24


@dataclass(frozen=True)
class Case:
    """A held-out scene and the prompt that tells all of it."""

    scene: Scene
    prompt: str


Artist = Callable[[Sequence[Case]], list[Picture]]
"""Draws one picture for each case."""
Score = dict[str, dict[str, tuple[int, int]]]
"""By field and attribute: how many were shown, of how many."""


def held_out_cases(field: str, count: int) -> list[Case]:
    """Scenes of a field whose combination of attributes is never trained on."""
    cases: list[Case] = []
    seed = _FIRST_SEED
    while len(cases) < count:
        scene = sample(seed, field)
        if is_held_out(scene):
            cases.append(Case(scene, caption(scene, random.Random(seed), complete=True)))
        seed += 1
    return cases


def generator(cases: Sequence[Case]) -> list[Picture]:
    """The program that draws the training pictures: the ceiling."""
    return [draw(case.scene) for case in cases]


def autoencoder_of(pipeline: Pipeline) -> Artist:
    """The generator's pictures after encoding and decoding: what the model could reach at best."""

    @torch.no_grad()
    def redraw(cases: Sequence[Case]) -> list[Picture]:
        latents = pipeline.vae.encode(to_tensor(generator(cases))).latent_dist.mode()
        decoded = pipeline.vae.decode(latents).sample.clamp(-1, 1).permute(0, 2, 3, 1)
        return list(((decoded + 1) * 127.5).round().byte().cpu().numpy())

    return redraw


def painter_of(pipeline: Pipeline, settings: Settings) -> Artist:
    """The model itself; every case has its own noise."""

    def artist(cases: Sequence[Case]) -> list[Picture]:
        pictures: list[Picture] = []
        for first in range(0, len(cases), _BATCH):
            part = cases[first : first + _BATCH]
            pictures += paint(pipeline, [case.prompt for case in part], [case.scene.seed for case in part], settings)
        return pictures

    return artist


def specialists_of(pipeline: Pipeline, models: Path, settings: Settings) -> Artist:
    """The model with each field's adapter for that field's cases; `cases` come field by field."""
    plain = painter_of(pipeline, settings)

    def artist(cases: Sequence[Case]) -> list[Picture]:
        pictures: list[Picture] = []
        for field, part in groupby(cases, key=lambda case: field_of(case.scene)):
            pipeline.load_lora_weights(models / f"sketch-{field}")
            pictures += plain(list(part))
            pipeline.unload_lora_weights()
        return pictures

    return artist


def untrained(trained: Pipeline) -> Pipeline:
    """The same shapes with random weights, behind the trained autoencoder: the floor."""
    torch.manual_seed(0)
    painter = Painter(Tokenizers(trained.tokenizer_2, trained.tokenizer)).eval()
    parts = trained.components | {
        "text_encoder": painter.clip,
        "text_encoder_2": painter.t5,
        "transformer": painter.transformer,
    }
    fresh = FluxPipeline(**parts).to(trained.device)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def score(cases: Sequence[Case], pictures: Sequence[Picture]) -> Score:
    """Count the attributes that the pictures show."""
    counts: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for case, picture in zip(cases, pictures, strict=True):
        attributes = counts[field_of(case.scene)]
        for attribute, shown in verdicts(case.scene, picture).items():
            right, total = attributes.get(attribute, (0, 0))
            attributes[attribute] = (right + int(shown), total + 1)
    return dict(counts)


def accuracy(counts: Sequence[tuple[int, int]]) -> float:
    """The share of shown attributes over all counts."""
    return sum(right for right, _ in counts) / max(1, sum(total for _, total in counts))


def overall(result: Score) -> float:
    """Accuracy over every attribute of every field."""
    return accuracy([count for attributes in result.values() for count in attributes.values()])


def print_table(results: dict[str, Score]) -> None:
    """One row for each attribute, one column for each artist."""
    names = list(results)
    print(f"{'field':<10} {'attribute':<15} {'samples':>7} " + " ".join(f"{name:>12}" for name in names))
    reference = results[names[0]]
    for field, attributes in reference.items():
        for attribute, (_, total) in attributes.items():
            shares = [accuracy([result[field][attribute]]) for result in results.values()]
            print(f"{field:<10} {attribute:<15} {total:>7} " + " ".join(f"{share:>12.3f}" for share in shares))
        shares = [accuracy(list(result[field].values())) for result in results.values()]
        print(f"{field:<10} {'all':<15} {'':>7} " + " ".join(f"{share:>12.3f}" for share in shares))
    print(f"{'all':<34} " + " ".join(f"{overall(result):>12.3f}" for result in results.values()))


def as_json(results: dict[str, Score], settings: Settings, count: int) -> dict[str, object]:
    """The result file's content."""
    return {
        "name": "eval_sketch",
        "compared": list(results),
        "values": {name: round(overall(result), 4) for name, result in results.items()},
        "unit": "share of attributes shown",
        "aim": _AIM,
        "samples": count,
        "fields": {
            name: {field: round(accuracy(list(attributes.values())), 4) for field, attributes in result.items()}
            for name, result in results.items()
        },
        "attributes": {
            name: {
                field: {attribute: round(accuracy([count]), 4) for attribute, count in attributes.items()}
                for field, attributes in result.items()
            }
            for name, result in results.items()
        },
        "settings": {"steps": settings.steps, "true_cfg_scale": settings.guidance},
        "command": "python -m recipes.sketch.evaluate",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, GPU: {torch.cuda.is_available()}",
    }


def artists_of(models: Path, settings: Settings, trained_only: bool) -> dict[str, Artist]:
    """Whom to compare: the model, its specialists and, unless `trained_only`, floor and ceilings."""
    pipeline = load(models / "sketch")
    artists: dict[str, Artist] = {"sketch": painter_of(pipeline, settings)}
    if trained_only:
        return artists
    return artists | {
        "specialists": specialists_of(pipeline, models, settings),
        "untrained": painter_of(untrained(pipeline), settings),
        "autoencoder": autoencoder_of(pipeline),
        "generator": generator,
    }


def save_sheets(folder: Path, cases: Sequence[Case], pictures: Sequence[Picture]) -> None:
    """One contact sheet for each field."""
    for field in FIELDS:
        shown = [pair for pair in zip(cases, pictures, strict=True) if field_of(pair[0].scene) == field][:_ON_A_SHEET]
        save_sheet(folder / f"{field}.png", [picture for _, picture in shown], [case.prompt for case, _ in shown])


def main() -> None:
    """Evaluate the exported models against floor and ceiling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--count", type=int, default=30, help="held-out scenes in each field")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--guidance", type=float, default=Settings.guidance)
    parser.add_argument("--result", type=Path, default=Path("bench/results/eval_sketch.json"))
    parser.add_argument("--sheets", type=Path, default=Path("docs/sketch"))
    parser.add_argument("--trained-only", action="store_true", help="draw with the base model alone, write no result")
    options = parser.parse_args()

    settings = Settings(options.steps, options.guidance)
    cases = [case for field in FIELDS for case in held_out_cases(field, options.count)]
    artists = artists_of(options.models, settings, options.trained_only)
    drawn = {name: artist(cases) for name, artist in artists.items()}
    results = {name: score(cases, pictures) for name, pictures in drawn.items()}
    print_table(results)
    save_sheets(options.sheets, cases, drawn["sketch"])
    if not options.trained_only:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(json.dumps(as_json(results, settings, len(cases)), indent=2) + "\n")


if __name__ == "__main__":
    main()
