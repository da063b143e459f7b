"""Where a checkpoint is looked for, and what must be said before one is downloaded."""

from pathlib import Path

import pytest

from servekit.errors import ModelUnavailable
from servekit.worker import CancelToken
from services.voice.engines.xtts.weights import Checkpoint

HUB = "coqui/XTTS-v2"
NAMES = ("config.json", "vocab.json", "model.pth")


def checkpoint(tmp_path: Path, source: str = HUB, *, agreed: bool = False) -> Checkpoint:
    return Checkpoint(source, agreed=agreed, models_dir=tmp_path, endpoint="http://127.0.0.1:9", cache=tmp_path / "hub")


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "mine", *NAMES)
    assert checkpoint(tmp_path, "mine").fetch(CancelToken()) == folder
    assert checkpoint(tmp_path, str(folder)).fetch(CancelToken()) == folder


def test_an_incomplete_folder_says_what_it_needs(tmp_path: Path) -> None:
    fill(tmp_path / "mine", *NAMES[:2])
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors or model\.pth"):
        checkpoint(tmp_path, "mine", agreed=True).fetch(CancelToken())


def test_what_the_hub_has_sent_before_needs_no_network(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--coqui--XTTS-v2"
    folder = fill(repository / "snapshots" / "abc", *NAMES)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert checkpoint(tmp_path).fetch(CancelToken()) == folder
    assert checkpoint(tmp_path, f"{HUB}@abc").local() == folder


def test_the_licence_comes_before_the_download(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"non-commercial.*COQUI_TOS_AGREED=1"):
        checkpoint(tmp_path).fetch(CancelToken())


def test_a_hub_out_of_reach_says_what_else_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match="name its folder as `source`"):
        checkpoint(tmp_path, agreed=True).fetch(CancelToken())


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "strange name!"])
def test_what_is_neither_folder_nor_hub_id_is_said_to_be_so(tmp_path: Path, source: str) -> None:
    with pytest.raises(ModelUnavailable, match="no XTTS checkpoint"):
        checkpoint(tmp_path, source, agreed=True).fetch(CancelToken())
