from pathlib import Path

import pytest

from recipes.sketch_qwen.vocabulary import CATEGORIES, FIELDS, Language, Pair, load_languages, split

LANGUAGES = load_languages()


def test_ten_languages_are_there() -> None:
    assert [each.code for each in LANGUAGES] == ["de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "zh"]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
def test_every_language_has_every_part(language: Language) -> None:
    assert set(language.fields) == set(FIELDS)
    assert set(language.unsafe) == set(CATEGORIES)
    assert all(phrases for lists in language.fields.values() for phrases in lists.values())


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
def test_unsafe_wordings_have_a_safe_one_except_with_minors(language: Language) -> None:
    without = {category for category, pairs in language.unsafe.items() for pair in pairs if not pair.safe}
    assert without == {"minors"}


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
def test_requests_hold_the_place_of_the_content(language: Language) -> None:
    assert [request for request in language.requests if request.count("{x}") != 1] == []


def test_lists_are_parted_at_semicolons() -> None:
    assert split(" a b;\nc ; ;") == ("a b", "c")


def test_a_missing_section_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "xx.toml").write_text('articles = ""\n')
    with pytest.raises(KeyError, match="unsafe"):
        load_languages(tmp_path)


def test_pairs_are_parted_at_the_arrow() -> None:
    english = next(each for each in LANGUAGES if each.code == "en")
    assert Pair("cocaine on a table", "flour on a table") in english.unsafe["drugs"]
