import numpy as np
import pytest

from services.imagegen.domain import Job, SourceImage

SOURCE = SourceImage(np.zeros((8, 8, 3), np.uint8), None, strength=0.6)


@pytest.mark.parametrize("scheduler", ["heun", "flow_heun"])
@pytest.mark.parametrize(("source", "usual"), [(None, 10), (SOURCE, 6)])
def test_a_scheduler_that_goes_there_and_back_takes_all_steps_but_the_last_twice(
    scheduler: str, source: SourceImage | None, usual: int
) -> None:
    plain, twice = (
        Job("a lake", "", width=8, height=8, steps=10, guidance=1.0, seed=0, scheduler=each, source=source)
        for each in ("euler", scheduler)
    )

    assert (plain.taken, twice.taken) == (usual, 2 * usual - 1)
