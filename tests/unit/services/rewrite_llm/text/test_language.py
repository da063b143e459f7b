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
        ("een vos in het bos met zijn jong", "nl"),
        ("lis na polu przy lesie", "pl"),
        ("лиса в снегу", "ru"),
        ("雪中的狐狸", "zh"),
        ("雪の中の狐", "ja"),
        ("a f\u043ex in the sn\u043ew", "en"),  # Cyrillic o
        ("a poster that says 狐", "en"),
    ],
)
def test_guesses(text: str, code: str) -> None:
    assert guess(text) == code


def test_says_the_default_where_nothing_speaks() -> None:
    assert guess("zzz", default="de") == "de"
