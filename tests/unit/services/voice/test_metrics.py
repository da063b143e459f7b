from services.voice.domain import Cause, Remedy
from services.voice.metrics import CAUSES, REMEDIES


def test_causes_and_remedies_are_those_of_the_domain() -> None:
    assert set(CAUSES) == {each.value for each in Cause}
    assert set(REMEDIES) == {each.value for each in Remedy}
