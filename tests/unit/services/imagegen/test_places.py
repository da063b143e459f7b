from pathlib import Path

import pytest

from services.imagegen.places import Weights, named


@pytest.mark.parametrize(
    ("place", "weights"),
    [
        ("me/judge", Weights(hub="me/judge")),
        ("me/judge@v1", Weights(hub="me/judge", revision="v1")),
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
