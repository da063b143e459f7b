from pathlib import Path

import pytest

from servekit.settings import WrongSettings, from_environment
from services.imagegen.bootstrap import build
from services.imagegen.settings import ImagegenSettings


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("MAX_IMAGE_SIDE", "768", "max_image_side", 768),
        ("ATELIER_IMAGEGEN_MAX_IMAGE_SIDE", "512", "max_image_side", 512),
        ("LOGO_SDXL_MODEL_ID", "me/logos", "logo_sdxl_model_id", "me/logos"),
        ("ATELIER_IMAGEGEN_MODELS", "sketch, sdxl", "models", ("sketch", "sdxl")),
        ("ATELIER_IMAGEGEN_MODELS", "*", "models", ("*",)),
        ("ATELIER_IMAGEGEN_WARM", "", "warm", ()),
        ("ATELIER_IMAGEGEN_PORT", "1234", "port", 1234),
        ("ATELIER_IMAGEGEN_MODELS_DIR", "/weights", "models_dir", Path("/weights")),
    ],
)
def test_the_environment_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)

    assert getattr(ImagegenSettings(), field) == expected


def test_the_token_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = ImagegenSettings()

    assert settings.hf_token is not None
    assert settings.hf_token.get_secret_value() == "hf_secret"
    assert "hf_secret" not in repr(settings)


def test_bundled_models_are_beside_the_packages() -> None:
    assert ImagegenSettings().models_dir == Path(__file__).parents[4] / "models"


@pytest.mark.parametrize("name", ["WARM", "MODELS", "DEVICE"])
def test_what_is_not_there_names_the_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ATELIER_IMAGEGEN_{name}", "zzz")
    with pytest.raises(WrongSettings, match=rf"^ATELIER_IMAGEGEN_{name}: .*'zzz'"):
        build(from_environment(ImagegenSettings))


@pytest.mark.parametrize("name", ["NSFW_MODEL", "LOGO_SDXL_MODEL_ID"])
def test_a_place_that_the_hub_cannot_have_names_the_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ATELIER_IMAGEGEN_{name}", "https://huggingface.co/me/x")
    with pytest.raises(WrongSettings, match=rf"^ATELIER_IMAGEGEN_{name}: 'https://.*owner/name.*hub"):
        build(from_environment(ImagegenSettings))


def test_a_server_for_rewriting_has_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_IMAGEGEN_REWRITE_ADDRESS", "zzz")
    with pytest.raises(WrongSettings, match=r"^ATELIER_IMAGEGEN_REWRITE_ADDRESS: .*host:port"):
        from_environment(ImagegenSettings)


def test_a_missing_folder_of_models_is_told_and_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(ImagegenSettings(models_dir=tmp_path / "none", device="cpu"))

    told = [(each.levelname, each.message) for each in caplog.records if "MODELS_DIR" in each.message]
    assert [level for level, _ in told] == ["WARNING", "ERROR"]
    assert str(tmp_path / "none") in told[0][1]
