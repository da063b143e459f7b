from pathlib import Path

import pytest

import services.router
from services.router import rules
from services.router.domain import Model, Source, Verdict

MODELS = [
    Model("general", strengths="Anything: landscapes, stylised pictures", tags=("general", "landscape")),
    Model("people", strengths="Photographs of people", tags=("portrait", "photo")),
    Model("posters", strengths="Posters with text", tags=("poster", "typography")),
]
BLOCKLIST = rules.Blocklist.load(Path(services.router.__file__).with_name("blocklist.toml"))


@pytest.mark.parametrize(
    ("prompt", "chosen"),
    [
        ("A portrait of a sailor", "people"),
        ("PORTRAITS of sailors", "people"),
        ("a poster for a jazz night, bold typography", "posters"),
        ("a wide landscape at dawn", "general"),
    ],
)
def test_the_model_with_most_words_in_common_is_chosen(prompt: str, chosen: str) -> None:
    selection = rules.select(prompt, MODELS, "general")

    assert selection.choice == chosen
    assert not selection.defaulted


@pytest.mark.parametrize("prompt", ["a sailor", "the picture of it", "a portrait on a poster", "船"])
def test_the_default_is_taken_when_nothing_stands_out(prompt: str) -> None:
    selection = rules.select(prompt, MODELS, "posters")

    assert selection.choice == "posters"
    assert selection.defaulted


@pytest.mark.parametrize("prompt", ["a portrait", "nothing of the kind"])
def test_shares_add_up_to_one(prompt: str) -> None:
    assert sum(rules.select(prompt, MODELS, "general").shares.values()) == pytest.approx(1)


def test_the_reason_never_repeats_the_prompt() -> None:
    assert "sailor" not in rules.select("a portrait of a sailor", MODELS, "general").reason


@pytest.mark.parametrize(
    "prompt",
    [
        "a naked child",
        "NAKED CHILD",
        "na\u200bked chi\u200bld",
        "erotic schoolgirls",
        "ein nacktes Mädchen",
        "niña desnuda",
    ],
)
def test_the_worst_is_refused_in_any_guise_it_knows(prompt: str) -> None:
    screening = BLOCKLIST.screen(prompt, "rewrite_llm is away")

    assert screening.verdict is Verdict.BLOCK
    assert screening.findings[0].category == "minors"


@pytest.mark.parametrize(
    "prompt",
    ["a child with a kite", "a nude statue of Venus", "a kind woman, naked trees", "a joint of beef", "Coke bottle"],
)
def test_what_is_innocent_passes_but_counts_as_unscreened(prompt: str) -> None:
    screening = BLOCKLIST.screen(prompt, "rewrite_llm is away")

    assert screening.verdict is Verdict.ALLOW
    assert not screening.complete
    assert screening.source is Source.RULES
    assert screening.degraded.startswith("rewrite_llm is away; ")


def test_a_check_of_the_picture_is_not_promised() -> None:
    degraded = BLOCKLIST.screen("a kite", "rewrite_llm is away").degraded

    assert "stays on" not in degraded
    assert degraded.endswith("finished pictures are checked only if imagegen has a model for that")
