from prometheus_client import CollectorRegistry

from services.voice.domain import Cause, Remedy
from services.voice.metrics import CAUSES, REMEDIES, VoiceMetrics


def test_causes_and_remedies_are_those_of_the_domain() -> None:
    assert set(CAUSES) == {each.value for each in Cause}
    assert set(REMEDIES) == {each.value for each in Remedy}


def test_an_engine_runs_in_one_mode_at_a_time() -> None:
    registry = CollectorRegistry()
    metrics = VoiceMetrics(registry)

    def modes() -> dict[str, float | None]:
        labels = [{"model": "xtts", "mode": each} for each in ("cuda", "cpu")]
        return {each["mode"]: registry.get_sample_value("voice_engine_mode", each) for each in labels}

    metrics.placed("xtts", "cuda", "")
    assert modes() == {"cuda": 1, "cpu": None}
    metrics.placed("xtts", "cpu", "cuda")
    assert modes() == {"cuda": 0, "cpu": 1}
    metrics.placed("xtts", "cuda", "")
    assert modes() == {"cuda": 1, "cpu": 0}
    failed = {"model": "xtts", "before": "cuda", "mode": "cpu"}
    assert registry.get_sample_value("voice_engine_mode_fallbacks_total", failed) == 1
