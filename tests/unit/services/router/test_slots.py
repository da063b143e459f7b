import pytest

from servekit.errors import Overloaded
from services.router.slots import Slots


def test_a_full_router_refuses_and_says_when_to_retry() -> None:
    slots = Slots(1)
    with slots.one(), pytest.raises(Overloaded) as caught, slots.one():
        pass

    assert caught.value.retry_after_s == 1.0


def test_a_slot_is_free_again_after_an_error() -> None:
    slots = Slots(1)
    with pytest.raises(ValueError, match="x"), slots.one():
        raise ValueError("x")

    assert slots.taken == 0
