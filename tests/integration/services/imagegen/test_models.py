"""Models as resources of the imagegen server."""

from atelier.imagegen.v1 import imagegen_pb2
from atelier.models.v1 import model_service_pb2, models_pb2
from tests.integration.services.imagegen.conftest import Client, Start

READY, UNLOADED = models_pb2.MODEL_STATE_READY, models_pb2.MODEL_STATE_UNLOADED


async def listed(client: Client) -> dict[str, models_pb2.Model]:
    response = await client.models.ListModels(model_service_pb2.ListModelsRequest())
    return {model.id: model for model in response.models}


async def test_only_models_whose_weights_are_here_are_offered(client: Client) -> None:
    models = await listed(client)

    assert {"tiny_flux", "other_flux", "tiny_sdxl", "tiny_specialist"} <= set(models)
    assert not {"absent_flux", "distant_flux", "flux_dev", "sketch"} & set(models)


async def test_all_models_are_offered_if_a_setting_says_so(start: Start) -> None:
    assert {"absent_flux", "flux_dev"} <= set(await listed(await start(models=("*",), warm=())))


async def test_the_offer_can_be_named(start: Start) -> None:
    assert set(await listed(await start(models=("other_flux", "tiny_sdxl")))) == {"other_flux", "tiny_sdxl"}


async def test_the_default_model_is_warm(client: Client) -> None:
    residency = (await listed(client))["tiny_flux"].residency

    assert (residency.state, residency.measured) == (READY, True)


async def test_rows_that_share_weights_are_resident_together(client: Client) -> None:
    assert (await listed(client))["tiny_specialist"].residency.state == READY


async def test_a_model_is_loaded_and_unloaded_on_request(client: Client) -> None:
    async for event in client.models.LoadModel(model_service_pb2.LoadModelRequest(model="other_flux")):
        last = event
    unloaded = await client.models.UnloadModel(model_service_pb2.UnloadModelRequest(model="other_flux"))

    assert (last.model.residency.state, unloaded.model.residency.state) == (READY, UNLOADED)
    assert last.model.residency.device_bytes > 10_000


async def test_an_unloaded_model_comes_back_the_same(client: Client) -> None:
    before = await client.generate()
    await client.models.UnloadModel(model_service_pb2.UnloadModelRequest(model="tiny_flux"))

    assert (await client.generate()).files == before.files


async def test_the_bytes_of_adapters_count(client: Client) -> None:
    before = (await listed(client))["tiny_flux"].residency.device_bytes
    await client.generate(adapters=[imagegen_pb2.Adapter(id="tiny_lora")])

    assert (await listed(client))["tiny_flux"].residency.device_bytes > before


async def test_the_status_tells_device_and_versions(client: Client) -> None:
    status = await client.models.GetStatus(model_service_pb2.GetStatusRequest())

    assert (status.service, status.device.kind, status.running) == ("imagegen", "cpu", 0)
    assert {"torch", "diffusers", "transformers"} == set(status.libraries)
    assert 0 < status.device.used_bytes < status.device.budget_bytes
