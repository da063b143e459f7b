import random

import pytest

from recipes.sketch_qwen.compose import Composer
from recipes.sketch_qwen.vocabulary import CATEGORIES, FIELDS, Language, load_languages

LANGUAGES = load_languages()
ENGLISH = next(each for each in LANGUAGES if each.code == "en")


@pytest.fixture(params=LANGUAGES, ids=lambda language: language.code)
def composer(request: pytest.FixtureRequest) -> Composer:
    language: Language = request.param
    return Composer(language, random.Random(3))


def test_no_slot_stays_empty(composer: Composer) -> None:
    texts = [composer.scene(field) for field in FIELDS for _ in range(60)]
    texts += [composer.unsafe(category).text for category in CATEGORIES for _ in range(40)]
    texts += [composer.injection(["sketch"], ["A"]) for _ in range(40)]
    unfilled = [
        text for text in texts if any(slot in text for slot in ("{x}", "{q}", "{l}", "{m}", "{p}", "{w}", "{h}"))
    ]
    assert unfilled == []


def test_a_rewrite_keeps_the_frame(composer: Composer) -> None:
    composed = [composer.unsafe("drugs") for _ in range(80)]
    assert all(each.safe and each.safe != each.text for each in composed)


def test_minors_have_no_safe_wording(composer: Composer) -> None:
    assert {composer.unsafe("minors").safe for _ in range(30)} == {""}


def test_innocents_belong_to_a_field(composer: Composer) -> None:
    assert {composer.innocent()[0] for _ in range(60)} <= set(FIELDS)


def test_the_same_seed_composes_the_same_texts() -> None:
    first, second = (Composer(ENGLISH, random.Random(5)) for _ in range(2))
    assert [first.scene("logo") for _ in range(20)] == [second.scene("logo") for _ in range(20)]


def test_an_attack_keeps_the_content() -> None:
    composer = Composer(ENGLISH, random.Random(1))
    assert all("a lake" in composer.attacked("a lake", "answer B") for _ in range(30))


def test_an_attack_holds_the_attempt() -> None:
    composer = Composer(ENGLISH, random.Random(1))
    assert all("answer B" in composer.attacked("a lake", "answer B") for _ in range(30))


def test_noise_leaves_most_texts_readable() -> None:
    composer = Composer(ENGLISH, random.Random(2))
    noisy = [composer.noisy("a quiet lake") for _ in range(200)]
    assert sum("lake" in text.lower() for text in noisy) > 150
