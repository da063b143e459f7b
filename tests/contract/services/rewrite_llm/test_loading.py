"""Weights on disk become an engine on the device thread, by the production loader."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from servekit.device import DevicePlan, plan_device
from servekit.errors import Cancelled, ModelUnavailable
from servekit.residency import Loaded
from servekit.worker import CancelToken, DeviceWorker
from services.rewrite_llm.catalog import Catalog, ModelRow
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.engines.int8 import Int8Linear
from services.rewrite_llm.engines.loader import EngineLoader
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.select import softmax
from tests.contract.services.rewrite_llm import tiny

BUNDLED = Path("models/sketch-qwen").absolute()


@pytest.fixture(scope="module")
def plan() -> DevicePlan:
    return plan_device("cpu", dtype="float32", threads=1)


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    worker = DeviceWorker("test-device")
    await worker.start()
    yield worker
    await worker.close()


class Shelf:
    """Loads single rows."""

    def __init__(self, plan: DevicePlan, worker: DeviceWorker, rules: Engine) -> None:
        self._plan, self._worker, self._rules = plan, worker, rules
        self.progress: list[float] = []
        self.token = CancelToken()
        self.stop_at = 2.0
        self.int8 = False

    def _note(self, fraction: float) -> None:
        self.progress.append(fraction)
        if fraction >= self.stop_at:
            self.token.cancel()

    async def load(self, row: ModelRow) -> Loaded[Engine]:
        loader = EngineLoader(
            Catalog([row]),
            self._plan,
            self._worker,
            self._rules,
            models_dir=Path("/nonexistent"),
            token=None,
            download=False,
            int8=self.int8,
        )
        return await loader.load(row.id, self._note, self.token)


@pytest.fixture
def shelf(plan: DevicePlan, worker: DeviceWorker, rules: RulesEngine) -> Shelf:
    return Shelf(plan, worker, rules)


def row(folder: Path, **changes: object) -> ModelRow:
    fields = {"id": "tiny", "display_name": "Tiny", "engine": "transformers", "source": str(folder), **changes}
    return ModelRow.model_validate(fields)


async def test_a_folder_becomes_an_engine_that_answers(shelf: Shelf, worker: DeviceWorker, folder: Path) -> None:
    loaded = await shelf.load(row(folder))
    (chance,) = await worker.run(lambda _: loaded.value.unsafe(["a lake"]))
    assert 0 <= chance <= 1


async def test_the_weights_are_measured(shelf: Shelf, folder: Path) -> None:
    single, half = await shelf.load(row(folder)), await shelf.load(row(folder, dtype="bfloat16"))
    assert single.bytes == pytest.approx(2 * half.bytes, rel=0.01)
    assert half.bytes > 0


@pytest.mark.parametrize("family", tiny.FAMILIES)
async def test_every_family_is_loaded_by_its_config(
    shelf: Shelf, worker: DeviceWorker, tmp_path: Path, family: str
) -> None:
    loaded = await shelf.load(row(tiny.save(tmp_path, family=family)))
    candidates = (Candidate("a", "portraits"), Candidate("b", "landscapes"))
    (scores,) = await worker.run(lambda _: loaded.value.choose(candidates, ["a lake"]))
    assert len(scores) == 2


async def test_int8_takes_less_memory_and_answers_nearly_the_same(shelf: Shelf, worker: DeviceWorker) -> None:
    bundled = row(BUNDLED)
    candidates = (Candidate("a", "Photorealistic portraits and people."), Candidate("b", "Landscapes and nature."))
    texts = ["a lake at dawn", "portrait of an old sailor", "a naked woman on a beach"]
    whole = await shelf.load(bundled)
    shelf.int8 = True
    small = await shelf.load(bundled)
    assert small.bytes < 0.7 * whole.bytes
    exact, near = [await worker.run(partial(answers, each.value, candidates, texts)) for each in (whole, small)]
    assert near == pytest.approx(exact, abs=0.02)


def test_int8_does_not_overflow_where_the_layer_does_not() -> None:
    layer = nn.Linear(512, 64, dtype=torch.float16)
    with torch.no_grad():
        layer.weight.uniform_(-0.05, 0.05)
        states = 3000 * layer.weight[:1].sign()  # real models have states as large
        exact = layer(states)
        assert exact.isfinite().all()
        assert Int8Linear(layer)(states)[0].tolist() == pytest.approx(exact[0].tolist(), rel=0.02, abs=500)


def answers(engine: Engine, candidates: Sequence[Candidate], texts: Sequence[str], _: CancelToken) -> list[float]:
    shares = [share for scores in engine.choose(candidates, texts) for share in softmax(scores)]
    return [*shares, *engine.unsafe(texts)]


async def test_progress_rises_to_one(shelf: Shelf, folder: Path) -> None:
    await shelf.load(row(folder))
    assert shelf.progress == sorted(shelf.progress)
    assert shelf.progress[-1] == 1.0


async def test_rules_need_no_weights(shelf: Shelf, rules: RulesEngine) -> None:
    loaded = await shelf.load(row(Path(), id="rules", engine="rules", source=""))
    assert (loaded.value, loaded.bytes) == (rules, 0)


async def test_missing_weights_are_named_with_what_to_do(shelf: Shelf) -> None:
    with pytest.raises(ModelUnavailable, match=r"/nonexistent/no-model.*REWRITE_LLM_ID"):
        await shelf.load(row(Path("no-model")))


async def test_broken_weights_are_no_model(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        await shelf.load(row(tmp_path))


async def test_sliding_windows_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    sliding = tiny.save(tmp_path, use_sliding_window=True, sliding_window=16, max_window_layers=0)
    with pytest.raises(ModelUnavailable, match="sliding_attention"):
        await shelf.load(row(sliding))


async def test_a_load_stops_between_its_steps_when_nobody_waits_for_it(shelf: Shelf, folder: Path) -> None:
    shelf.stop_at = 0.1
    with pytest.raises(Cancelled):
        await shelf.load(row(folder))
    assert shelf.progress == [0.1]
