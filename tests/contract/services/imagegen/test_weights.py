"""Weights from a hub, see `tests.hub`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from servekit.errors import Cancelled, ModelUnavailable
from servekit.worker import CancelToken
from services.imagegen.catalog import AdapterRow, Catalog
from services.imagegen.engines.weights import WeightStore
from services.imagegen.places import Refiner, Weights
from tests.hub import COMMIT, Hub, serving


@pytest.fixture
def hub(models_dir: Path) -> Iterator[Hub]:
    with serving(models_dir / "tiny_flux") as server:
        yield server


def store(tmp_path: Path, endpoint: str, *, token: str | None = None, download: bool = True) -> WeightStore:
    return WeightStore(tmp_path, token=token, download=download, endpoint=endpoint, cache=tmp_path / "cache")


MODEL = Weights(hub="me/model")


async def fetch(weights: WeightStore, heard: list[float] | None = None, token: CancelToken | None = None) -> Path:
    listening = heard if heard is not None else []
    return await weights.fetch("model", MODEL, listening.append, token or CancelToken())


async def test_weights_are_downloaded_once(tmp_path: Path, hub: Hub) -> None:
    weights, heard = store(tmp_path, hub.address), list[float]()
    folder = await fetch(weights, heard)
    first = len(hub.sent)

    assert (folder / "transformer" / "diffusion_pytorch_model.safetensors").is_file()
    assert (heard == sorted(heard), heard[-1]) == (True, 1.0)
    assert await fetch(weights) == folder
    assert len(hub.sent) == first


async def test_a_downloaded_model_is_found_on_this_disk(tmp_path: Path, hub: Hub) -> None:
    weights = store(tmp_path, hub.address)
    before = weights.local(Weights(hub="me/model", revision=COMMIT))
    folder = await fetch(weights)

    assert (before, weights.local(Weights(hub="me/model", revision=COMMIT))) == (None, folder)


async def test_pickles_are_not_even_downloaded(tmp_path: Path, hub: Hub, models_dir: Path) -> None:
    (models_dir / "tiny_flux" / "vae" / "evil.bin").write_bytes(b"pickle")
    try:
        await fetch(store(tmp_path, hub.address))
    finally:
        (models_dir / "tiny_flux" / "vae" / "evil.bin").unlink()

    assert not any(name.endswith(".bin") for name in hub.sent)


async def test_where_pickles_are_allowed_those_without_safetensors_are_downloaded(
    tmp_path: Path, models_dir: Path
) -> None:
    folder = Path(shutil.copytree(models_dir / "tiny_flux", tmp_path / "repository"))
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").rename(folder / "transformer" / "weights.bin")
    (folder / "vae" / "needless.bin").write_bytes(b"pickle")
    with serving(folder) as hub:
        await fetch(
            WeightStore(
                tmp_path, token=None, download=True, allow_pickle=True, endpoint=hub.address, cache=tmp_path / "cache"
            )
        )

    assert [name for name in hub.sent if name.endswith(".bin")] == ["transformer/weights.bin"]


@pytest.mark.parametrize(
    ("refusal", "token", "told"),
    [
        ("GatedRepo", None, "accept its licence and set HF_TOKEN: https://huggingface.co/me/model"),
        ("GatedRepo", "hf_x", "HF_TOKEN's account must accept its licence"),
        ("RepoNotFound", None, "the hub knows no me/model"),
    ],
)
async def test_a_refusal_says_what_to_do(tmp_path: Path, hub: Hub, refusal: str, token: str | None, told: str) -> None:
    hub.refusal = refusal

    with pytest.raises(ModelUnavailable, match=told):
        await fetch(store(tmp_path, hub.address, token=token))


async def test_an_unreachable_hub_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="the hub cannot be reached"):
        await fetch(store(tmp_path, "http://127.0.0.1:1"))


async def test_without_leave_to_download_nothing_is_asked_of_the_hub(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(ModelUnavailable, match="allow `download`"):
        await fetch(store(tmp_path, hub.address, download=False))

    assert hub.sent == []


async def test_a_download_stops_between_files(tmp_path: Path, hub: Hub) -> None:
    token = CancelToken()
    weights = store(tmp_path, hub.address)

    with pytest.raises(Cancelled):
        await weights.fetch("model", MODEL, lambda _: token.cancel(), token)

    assert len(hub.sent) == 1


async def test_a_component_s_own_repository_is_found_on_this_disk(tmp_path: Path, models_dir: Path) -> None:
    with serving(models_dir / "tiny_llama") as hub:
        weights = store(tmp_path, hub.address)
        folder = await fetch(weights)

    assert not (folder / "model_index.json").exists()
    assert await fetch(store(tmp_path, "http://127.0.0.1:1", download=False)) == folder


async def test_a_refiner_is_fetched_without_what_it_shares(tmp_path: Path, models_dir: Path) -> None:
    with serving(models_dir / "tiny_sdxl") as hub:
        await store(tmp_path, hub.address).fetch("refiner", Refiner(hub="me/model"), lambda _: None, CancelToken())

    folders = {name.split("/")[0] for name in hub.sent}
    assert "unet" in folders
    assert not folders & {"vae", "text_encoder_2", "tokenizer_2"}


async def test_an_adapter_is_fetched_once_and_alone(tmp_path: Path, models_dir: Path) -> None:
    row = AdapterRow(id="lora", base="tiny", license="MIT", hub="me/model", file="pytorch_lora_weights.safetensors")
    catalog = Catalog([], [row])
    shutil.copytree(models_dir / "tiny_flux_lora", tmp_path / "repository")
    (tmp_path / "repository" / "other.safetensors").write_bytes(b"large")
    with serving(tmp_path / "repository") as hub:
        weights = store(tmp_path, hub.address)
        await weights.adapter_fetcher(catalog)("lora")
        await weights.adapter_fetcher(catalog)("lora")

    assert hub.sent == [row.file]
    assert weights.adapter_path(catalog)("lora").name == row.file
