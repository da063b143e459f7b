import pytest

from atelier.models.v1 import model_service_pb2
from atelier.voice.v1 import voice_service_pb2
from servekit.access.domain import Role
from servekit.access.roles import required_role

_MODELS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
_VOICE = voice_service_pb2.DESCRIPTOR.services_by_name["VoiceService"]


@pytest.mark.parametrize("name", ["LoadModel", "UnloadModel", "PinModel"])
def test_operators_move_models(name: str) -> None:
    assert required_role(f"/{_MODELS.full_name}/{name}") is Role.OPERATOR


@pytest.mark.parametrize("name", ["CreateVoice", "DeleteVoice"])
def test_cloners_make_voices(name: str) -> None:
    assert required_role(f"/{_VOICE.full_name}/{name}") is Role.CLONER


def test_users_do_everything_else() -> None:
    others = {
        method.name
        for service in (_MODELS, _VOICE)
        for method in service.methods
        if required_role(f"/{service.full_name}/{method.name}") is Role.USER
    }
    assert {"ListModels", "GetModel", "GetStatus", "WatchModels", "Synthesize", "ListVoices", "GetVoice"} <= others
    assert not others & {"LoadModel", "UnloadModel", "PinModel", "CreateVoice", "DeleteVoice"}


def test_a_method_that_no_contract_knows_is_for_users() -> None:
    assert required_role("/some.Service/Method") is Role.USER
