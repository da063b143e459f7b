import tomllib
from pathlib import Path

import pytest

from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.selection.keywords import Keywords, load
from services.rewrite_llm.settings import RewriteSettings

NOTES = (
    Candidate("flux_dev", "General purpose: stylised art, illustration, landscapes.", ("general", "stylised")),
    Candidate("realvis_xl", "Photorealistic portraits and people.", ("portrait", "photo")),
    Candidate("sd3_medium", "Complex prompts, posters, user interfaces and typography.", ("poster", "ui")),
    Candidate("logo_sdxl", "Logos, brand marks and lettering, icons.", ("logo", "text")),
)


@pytest.fixture(scope="module")
def keywords() -> Keywords:
    return Keywords(load(RewriteSettings().selection_dir / "topics.toml"))


def best(keywords: Keywords, prompt: str, candidates: tuple[Candidate, ...] = NOTES) -> str:
    scores = keywords.score(candidates, prompt)
    return candidates[scores.index(max(scores))].id


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("flux_dev", "a misty lake between mountains"),
        ("flux_dev", "watercolour of a dragon above a castle"),
        ("flux_dev", "ein Wald im Nebel"),
        ("flux_dev", "un lac de montagne au coucher du soleil"),
        ("flux_dev", "un bosque en la niebla"),
        ("flux_dev", "un lago tra le montagne"),
        ("flux_dev", "夕焼けの山と湖"),
        ("realvis_xl", "portrait of an old fisherman with a beard"),
        ("realvis_xl", "Nahaufnahme, Porträt einer Frau mit Sommersprossen"),
        ("realvis_xl", "portrait d'un vieil homme souriant"),
        ("realvis_xl", "retrato de una anciana con arrugas"),
        ("realvis_xl", "ritratto di un pescatore con la barba"),
        ("sd3_medium", "movie poster for a heist film"),
        ("sd3_medium", "dashboard of a banking app"),
        ("sd3_medium", "Plakat für ein Jazzfestival"),
        ("sd3_medium", "affiche d'un festival de jazz"),
        ("sd3_medium", "cartel para un festival de cine"),
        ("sd3_medium", "locandina di un film"),
        ("logo_sdxl", "logo for a bakery"),
        ("logo_sdxl", "Wappen und Logo für einen Ruderverein"),
        ("logo_sdxl", "logotype d'une boulangerie"),
        ("logo_sdxl", "emblema para un club de remo"),
        ("logo_sdxl", "logo per una gelateria"),
    ],
)
def test_the_model_whose_strengths_fit(keywords: Keywords, model: str, prompt: str) -> None:
    assert best(keywords, prompt) == model


def test_nothing_in_the_prompt_speaks_for_nobody(keywords: Keywords) -> None:
    assert len(set(keywords.score(NOTES, "xyzzy"))) == 1


def test_a_specialist_beats_one_who_does_everything(keywords: Keywords) -> None:
    pair = (
        Candidate("all", "General purpose: landscapes, portraits, posters, logos."),
        Candidate("one", "Logos and icons."),
    )
    assert best(keywords, "logo for a bakery", pair) == "one"


def test_a_new_model_needs_only_its_own_words(keywords: Keywords) -> None:
    newcomer = Candidate("zeppelin", "Zeppelins and balloons of every make.")
    assert best(keywords, "a zeppelin and two balloons", (*NOTES, newcomer)) == "zeppelin"


def test_its_id_alone_says_nothing_for_a_model(keywords: Keywords) -> None:
    assert len(set(keywords.score(NOTES, "flux_dev"))) == 1


def test_topics_with_a_wrong_key_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "topics.toml"
    wrong.write_text('[[topic]]\nid = "a"\nstrengths = ["b"]\nprompts = {}\n')
    with pytest.raises(ValueError, match="prompts"):
        load(wrong)


def test_every_topic_speaks_five_languages() -> None:
    file = RewriteSettings().selection_dir / "topics.toml"
    topics = tomllib.loads(file.read_text(encoding="utf-8"))["topic"]
    assert [
        topic["id"]
        for topic in topics
        if topic["prompt"] and not {"en", "de", "fr", "es", "it"} <= set(topic["prompt"])
    ] == []
