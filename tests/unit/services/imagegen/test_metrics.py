from prometheus_client import CollectorRegistry

from services.imagegen.domain import Cause, Remedy
from services.imagegen.metrics import REMEDIES, VERDICTS, ImagegenMetrics


def test_verdicts_and_remedies_are_those_of_the_domain() -> None:
    assert set(VERDICTS) == {"accepted", *(each.value for each in Cause)}
    assert set(REMEDIES) == {each.value for each in Remedy}


def test_expected_models_begin_at_zero() -> None:
    registry = CollectorRegistry()
    ImagegenMetrics(registry).expect({"sketch_logo": "sketch"})
    assert registry.get_sample_value("imagegen_verdicts_total", {"model": "sketch_logo", "verdict": "black"}) == 0
    pair = {"from_model": "sketch_logo", "to_model": "sketch"}
    assert registry.get_sample_value("imagegen_fallbacks_total", pair) == 0
