import pytest

from services.rewrite_llm.text.likeness import same_words, shared_words


@pytest.mark.parametrize(
    ("original", "text", "share"),
    [
        ("a fox in the snow", "a fox in the snow", 1.0),
        ("a fox in the snow", "the Fox on a hill", 0.5),
        ("a fox in the snow", "qwrt plk", 0.0),
        ("painted houses", "a painting of a house", 1.0),
        ("the of a", "anything", 1.0),
        ("雪の狐", "雪と狐", 2 / 3),
    ],
)
def test_share_of_the_originals_words(original: str, text: str, share: float) -> None:
    assert shared_words(original, text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("original", "text", "same"),
    [
        ("a fox\nin <snow>", "A fox in (snow).", True),
        ("", "", True),
        ("a fox in the snow", "a fox in snow", False),
        ("2 foxes", "3 foxes", False),
        ("雪の狐", "雪と狐", False),
    ],
)
def test_what_says_the_same(original: str, text: str, same: bool) -> None:
    assert same_words(original, text) is same
