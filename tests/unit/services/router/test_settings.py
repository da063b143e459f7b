import pytest

from servekit.settings import WrongSettings, from_environment
from services.router.settings import RouterSettings


@pytest.mark.parametrize("name", ["IMAGEGEN_TARGETS", "VOICE_TARGETS", "REWRITE_TARGET"])
@pytest.mark.parametrize("target", ["", "foo", "http://x:1"])
def test_what_is_no_target_stops_the_start(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ATELIER_ROUTER_{name}", target)
    with pytest.raises(WrongSettings, match=rf"^ATELIER_ROUTER_{name}: "):
        from_environment(RouterSettings)


def test_several_servers_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_ROUTER_IMAGEGEN_TARGETS", "dns:///imagegen:50052, 127.0.0.1:50053")
    assert from_environment(RouterSettings).imagegen_targets == "dns:///imagegen:50052, 127.0.0.1:50053"
