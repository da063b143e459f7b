from pathlib import Path

import pytest

from services.imagegen.places import Weights, named


@pytest.mark.parametrize(
    ("place", "weights"),
    [
        ("me/judge", Weights(hub="me/judge")),
        ("me/judge@v1", Weights(hub="me/judge", revision="v1")),
        ("judge", Weights(hub="judge")),
        ("/not/there", Weights(source="/not/there")),
    ],
)
def test_a_setting_names_a_repository_or_a_folder(place: str, weights: Weights) -> None:
    assert named(place) == weights


def test_a_folder_that_is_there_goes_before_a_repository_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "judge").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert named("me/judge") == Weights(source=str(tmp_path / "me" / "judge"))


@pytest.mark.parametrize("place", ["https://huggingface.co/me/judge", "./judge", "me/judge/v1", "@v1"])
def test_what_is_neither_is_told(place: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' must be a folder .*owner/name@commit"):
        named(place)


@pytest.mark.parametrize("hub", ["gpt2", "me/mine", "Me-2/my_model.v1", "_me/x" + 95 * "y", "a.-b", ""])
def test_names_as_the_hub_has_them_are_taken(hub: str) -> None:
    source = "" if hub else "folder"

    assert Weights(hub=hub, source=source).hub == hub


TOO_LONG = "me/" + 97 * "x"
OTHERS = ["https://huggingface.co/me/mine", "a/b/c", "/mine", "me/", "me/.mine", "-me/x", "me/a--b", "a..b", "me/x.git"]


@pytest.mark.parametrize("hub", [*OTHERS, TOO_LONG, "me/m\u00efne", "me/mine\n", "me/mine@v1"])
def test_other_names_are_not(hub: str) -> None:
    with pytest.raises(ValueError, match=r"hub\n.*must be owner/name or name"):
        Weights(hub=hub)
