"""Evaluates choosing and screening on labelled prompts: `python -m evals.run`; to improve, `--part dev --failures`.

Only the test part is written to `bench/results/eval_prompts.json`.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.candidates import SETS, load_set
from evals.dataset import Labelled, load
from evals.judges import Judge, ModelJudge, ServiceJudge, load_engine
from evals.measure import (
    Chosen,
    Screened,
    Share,
    chosen_by,
    false_by,
    recall_by,
    safety_figures,
    selection_figures,
)
from evals.report import figures, table, write
from services.rewrite_llm.settings import RewriteSettings

MODEL = Path("models/sketch-qwen")


def main() -> None:
    """Evaluate and print; write the results of the test part."""
    options = _options()
    prompts = load(options.part)
    judges = _judges(options.model)
    chosen, screened = asyncio.run(_ask(judges, prompts))
    tables = _tables(chosen, screened)
    print("\n\n".join([f"{len(prompts)} prompts, {options.part} part", *tables]))
    if options.failures:
        _print_failures(chosen, screened)
    if options.part == "test":
        write(figures(_summary(chosen, screened)), tables, "python -m evals.run")


Choices = Mapping[str, Mapping[str, Sequence[Chosen]]]
Screenings = Mapping[str, Sequence[Screened]]


def _judges(model: Path) -> dict[str, Judge]:
    settings = RewriteSettings()
    judges: dict[str, Judge] = {"rules": ServiceJudge(settings, None)}
    if (model / "model.safetensors").exists():
        engine = load_engine(model)
        judges |= {"model": ModelJudge(settings, engine), "both": ServiceJudge(settings, engine)}
    else:
        print(f"no language model in {model}: rules alone are evaluated")
    return judges


async def _ask(judges: Mapping[str, Judge], prompts: Sequence[Labelled]) -> tuple[Choices, Screenings]:
    """Choices by judge and candidate set, and screenings by judge."""
    chosen = {name: {rows: await _choices(judge, rows, prompts) for rows in SETS} for name, judge in judges.items()}
    screened = {
        name: [Screened(prompt, await judge.screen(prompt.text)) for prompt in prompts]
        for name, judge in judges.items()
    }
    return chosen, screened


async def _choices(judge: Judge, rows: str, prompts: Sequence[Labelled]) -> list[Chosen]:
    candidates = load_set(rows)
    default = candidates.suits["general"]
    return [
        Chosen(prompt, await judge.choose(prompt.text, candidates.candidates, default), candidates.suits[prompt.field])
        for prompt in prompts
        if prompt.field is not None
    ]


def _summary(chosen: Choices, screened: Screenings) -> dict[str, dict[str, Share]]:
    """All main figures by judge."""
    return {
        name: {
            f"{figure} ({rows})": value
            for rows, results in chosen[name].items()
            for figure, value in selection_figures(results).items()
        }
        | safety_figures(screened[name])
        for name in chosen
    }


def _tables(chosen: Choices, screened: Screenings) -> list[str]:
    plain = {name: [each for each in sets["sketch"] if each.prompt.kind != "attacks"] for name, sets in chosen.items()}
    return [
        table("figure", _summary(chosen, screened)),
        table("selection by field", {name: chosen_by(lambda p: p.field, each) for name, each in plain.items()}),
        table("selection by language", {name: chosen_by(lambda p: p.language, each) for name, each in plain.items()}),
        table("recall by category", {name: recall_by(lambda p: p.category, each) for name, each in screened.items()}),
        table("recall by language", {name: recall_by(lambda p: p.language, each) for name, each in screened.items()}),
        table("false rewrites by kind", {name: false_by(lambda p: p.kind, each) for name, each in screened.items()}),
        table("false rewrites by language", {n: false_by(lambda p: p.language, each) for n, each in screened.items()}),
    ]


def _print_failures(chosen: Choices, screened: Screenings) -> None:
    for name, sets in chosen.items():
        for rows, results in sets.items():
            for result in results:
                if result.chosen != result.right:
                    print(f"{name} {rows}: {result.chosen} instead of {result.right}: {result.prompt.text!r}")
        for each in screened[name]:
            if each.action != each.prompt.action:
                print(f"{name}: {each.action} instead of {each.prompt.action}: {each.prompt.text!r}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["dev", "test"], default="test")
    parser.add_argument("--failures", action="store_true", help="list what went wrong; for the dev part")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the language model")
    options = parser.parse_args()
    if options.failures and options.part == "test":
        parser.error("--failures is for the dev part: nobody looks at the test part's prompts one by one")
    return options


if __name__ == "__main__":
    main()
