import pytest

from deploy.local.run import patience_s


def test_services_get_the_grace_of_the_slowest_and_some_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience_s() == 40
    monkeypatch.setenv("ATELIER_VOICE_GRACE_S", "100")
    monkeypatch.setenv("ATELIER_VOICE_DRAIN_DELAY_S", "5")
    assert patience_s() == 115
