"""The command that a Job runs, against a hub on this machine."""

from pathlib import Path

from tests.contract.services.imagegen import tiny, tiny_parts
from tests.hub import prefetch, serving

CATALOG = """
[[model]]
id = "{id}"
display_name = "Model"
family = "flux"
hub = "{hub}"
license = "MIT"
strengths = "Everything there is to paint."
steps = {{ default = 4, min = 1, max = 12 }}
guidance = {{ default = 0, min = 0, max = 0 }}
size = {{ default = [64, 64], min = 64, max = 64, multiple_of = 16 }}
bytes = {{ float32 = 1000 }}
"""


async def fetch(tmp_path: Path, endpoint: str, models: str) -> tuple[int | None, str]:
    own = tmp_path / "catalog.toml"
    own.write_text(CATALOG.format(id="mine", hub="me/model"))
    settings = {"ATELIER_IMAGEGEN_CATALOG_FILE": str(own), "ATELIER_IMAGEGEN_MODELS": models}
    return await prefetch("imagegen", endpoint, tmp_path / "cache", settings)


async def test_what_the_settings_name_is_fetched_once(tmp_path: Path) -> None:
    tiny.save_flux(tmp_path / "hub")
    with serving(tmp_path / "hub") as hub:
        assert (await fetch(tmp_path, hub.address, "mine,sketch"))[0] == 0
        sent = len(hub.sent)
        assert sent
        assert (await fetch(tmp_path, hub.address, "mine"))[0] == 0
        assert len(hub.sent) == sent
    assert list((tmp_path / "cache").rglob("diffusion_pytorch_model.safetensors"))


async def test_another_model_for_logos_is_fetched_in_place_of_ours(tmp_path: Path, unused_tcp_port: int) -> None:
    settings = {"LOGO_SDXL_MODEL_ID": "me/logos", "ATELIER_IMAGEGEN_MODELS": "logo_sdxl"}
    code, errors = await prefetch("imagegen", f"http://127.0.0.1:{unused_tcp_port}", tmp_path / "cache", settings)
    assert code == 1
    assert "logo_sdxl: me/logos is not on this disk" in errors


async def test_the_safety_classifier_is_fetched(tmp_path: Path) -> None:
    folder = tiny_parts.save_classifier(tmp_path / "hub", fires=False)
    settings = {"ATELIER_IMAGEGEN_NSFW_MODEL": "me/model"}
    with serving(folder) as hub:
        assert (await prefetch("imagegen", hub.address, tmp_path / "cache", settings))[0] == 0

    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= set(hub.sent)


async def test_what_cannot_be_had_is_told_and_ends_with_an_error(tmp_path: Path, unused_tcp_port: int) -> None:
    code, errors = await fetch(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "mine")
    assert code == 1
    assert "mine: me/model is not on this disk and the hub cannot be reached" in errors


async def test_a_classifier_that_can_be_nowhere_names_the_setting(tmp_path: Path) -> None:
    settings = {"ATELIER_IMAGEGEN_NSFW_MODEL": "https://huggingface.co/me/model"}
    code, errors = await prefetch("imagegen", "http://127.0.0.1:1", tmp_path / "cache", settings)

    assert code == 1
    assert errors.startswith("ATELIER_IMAGEGEN_NSFW_MODEL: 'https://huggingface.co/me/model' must be a folder")
