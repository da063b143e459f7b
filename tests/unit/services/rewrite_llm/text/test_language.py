import pytest

from services.rewrite_llm.text.language import guess


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a fox in the snow", "en"),
        ("ein Fuchs auf dem Feld mit der Sonne", "de"),
        ("un renard dans la neige avec des arbres", "fr"),
        ("un zorro en el bosque con los niños", "es"),
        ("una volpe nella neve con gli alberi", "it"),
        ("uma raposa na neve com os pais", "pt"),
    ],
)
def test_guesses(text: str, code: str) -> None:
    assert guess(text) == code


def test_says_the_default_where_nothing_speaks() -> None:
    assert guess("zzz", default="de") == "de"
