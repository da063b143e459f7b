from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from prometheus_client import generate_latest

from atelier.models.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.rewrite.v1.rewrite_service_pb2_grpc import RewriteServiceStub
from servekit.testing import local, serve
from services.rewrite_llm.bootstrap import build
from services.rewrite_llm.settings import RewriteSettings
from tests.contract.services.rewrite_llm import tiny


@dataclass(frozen=True, slots=True)
class Studio:
    """A running rewrite_llm and stubs for it."""

    rewrite: Any
    models: Any
    channel: grpc.aio.Channel
    _app: Any

    def metrics(self) -> str:
        return generate_latest(self._app._registry).decode()


Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Studio]]


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Studio]:
    app = build(local(RewriteSettings, port=0, device="cpu", dtype="float32", threads=1, **settings))
    async with serve(app) as channel:
        yield Studio(RewriteServiceStub(channel), ModelServiceStub(channel), channel, app)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny-qwen"))


@pytest.fixture
async def by_rules() -> AsyncIterator[Studio]:
    async with serving(llm="rules") as studio:
        yield studio


@pytest.fixture
async def by_llm(weights: Path) -> AsyncIterator[Studio]:
    async with serving(llm=str(weights), min_margin=0.0, unsafe_threshold=1.0) as studio:
        yield studio
