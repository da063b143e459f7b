import gc
import weakref
from collections.abc import Iterator

import pytest

from servekit import garbage


class Node:
    """Part of a cycle with itself, which only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_set_aside_is_not_searched() -> None:
    before = gc.get_freeze_count()

    garbage.set_aside()

    assert gc.get_freeze_count() > before
    assert len(gc.get_objects()) < gc.get_freeze_count()


def test_garbage_is_freed_before_the_rest_is_set_aside() -> None:
    gone = weakref.ref(Node())

    garbage.set_aside()

    assert gone() is None


def test_what_was_set_aside_and_has_become_garbage_is_freed_when_a_model_has_gone() -> None:
    node = Node()
    garbage.set_aside()
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is not None

    garbage.collect()

    assert gone() is None


def test_after_that_it_is_set_aside_again() -> None:
    garbage.collect()

    assert gc.get_freeze_count() > 0
