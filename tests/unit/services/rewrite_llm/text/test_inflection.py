import pytest

from services.rewrite_llm.text.inflection import agree, with_article

SPANISH = "vestido|vestida|vestidos|vestidas|con abrigo"
FRENCH = "habillé|habillée|habillés|habillées|en manteau"
ITALIAN = "vestito|vestita|vestiti|vestite|con il cappotto"


@pytest.mark.parametrize(
    ("forms", "term", "language", "form"),
    [
        (SPANISH, "desnudo", "es", "vestido"),
        (SPANISH, "Desnudas", "es", "vestidas"),
        (SPANISH, "sin ropa", "es", "con abrigo"),
        (SPANISH, "nuas", "pt", "vestidas"),
        (FRENCH, "nu", "fr", "habillé"),
        (FRENCH, "dénudé", "fr", "habillé"),
        (FRENCH, "dénudée", "fr", "habillée"),
        (FRENCH, "toutes nues", "fr", "habillées"),
        (FRENCH, "sans vêtements", "fr", "en manteau"),
        (ITALIAN, "nudi", "it", "vestiti"),
        (ITALIAN, "nude", "it", "vestite"),
        ("bekleidet*", "nackt", "de", "bekleidet"),
        ("bekleidet*", "NACKTEN", "de", "bekleideten"),
        ("bekleidet*", "ohne Kleider", "de", "bekleidet"),
        ("gekleed|geklede", "naakt", "nl", "gekleed"),
        ("gekleed|geklede", "naakte", "nl", "geklede"),
        ("fully clothed", "naked", "en", "fully clothed"),
        ("élégante", "sexy", "fr", "élégante"),
        ("", "x", "de", ""),
        ("ubrana", "", "pl", "ubrana"),
    ],
)
def test_a_replacement_agrees_with_what_it_replaces(forms: str, term: str, language: str, form: str) -> None:
    assert agree(forms, term, language) == form


@pytest.mark.parametrize(
    ("before", "wording", "after"),
    [
        ("draw a ", "elegant", "draw an "),
        ("An ", "romantic", "A "),
        ("a ", "clothed", "a "),
        ("panda ", "elegant", "panda "),
        ("a ", "", "a "),
        ("", "elegant", ""),
    ],
)
def test_an_article_goes_with_the_word_after_it(before: str, wording: str, after: str) -> None:
    assert with_article(before, wording) == after
