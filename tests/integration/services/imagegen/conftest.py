"""A real imagegen server over tiny pipelines, per test."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from prometheus_client import CollectorRegistry

from atelier.imagegen.v1 import image_service_pb2, image_service_pb2_grpc
from atelier.models.v1 import model_service_pb2_grpc
from servekit.testing import local, serve
from services.imagegen.bootstrap import build
from services.imagegen.settings import ImagegenSettings
from tests.contract.services.imagegen import tiny, tiny_parts
from tests.unit.services.imagegen import rows

TIMEOUT_S = 60.0


@dataclass
class Outcome:
    """What a generation sent."""

    events: list[image_service_pb2.GenerateResponse] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events, repeats left out."""
        kinds = [str(each.WhichOneof("event")) for each in self.events]
        return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]

    @property
    def summary(self) -> image_service_pb2.Summary:
        """The last event."""
        return self.events[-1].summary

    def of(self, kind: str) -> list[Any]:
        """Return all events of a kind."""
        return [getattr(each, kind) for each in self.events if each.WhichOneof("event") == kind]


class Client:
    """Calls one server."""

    def __init__(self, channel: grpc.aio.Channel, registry: CollectorRegistry | None = None) -> None:
        self.images = image_service_pb2_grpc.ImageServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.channel = channel
        self._registry = registry or CollectorRegistry()

    async def generate(self, **request: Any) -> Outcome:
        """Make pictures and collect what is sent."""
        outcome = Outcome()
        message = image_service_pb2.GenerateRequest(**{"prompt": "a red lake", "seed": 7, **request})
        async for event in self.images.Generate(message, timeout=TIMEOUT_S):
            outcome.events.append(event)
            if event.HasField("image"):
                outcome.files.append(b"")
            elif event.HasField("chunk"):
                outcome.files[-1] += event.chunk.data
        return outcome

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample of the server's metrics, 0 if there is none."""
        return self._registry.get_sample_value(name, labels) or 0.0


Start = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep tiny tensors on one thread: handing them around costs more than it saves."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tiny pipelines: two that work, one that decodes to NaN, one to black, and an adapter."""
    folder = tmp_path_factory.mktemp("models")
    tiny.save_flux(folder / "tiny_flux")
    tiny.save_flux(folder / "other_flux", seed=5)
    tiny.save_sdxl(folder / "tiny_sdxl")
    tiny.save_refiner(folder / "tiny_refiner")
    tiny_parts.damage(tiny.save_flux(folder / "nan_flux"), nan=True)
    tiny_parts.damage(tiny.save_flux(folder / "black_flux"), nan=False)
    tiny_parts.save_tiny_vae(folder / "tiny_vae")
    tiny_parts.save_lora(folder / "tiny_flux", folder / "tiny_lora")
    return folder


FLUX_ROWS: dict[str, dict[str, Any]] = {
    "tiny_flux": {"fast": {"steps": 2, "guided": 0.5}},
    "many_steps": {
        "source": "tiny_flux",
        "steps": {"default": 9, "min": 1, "max": 50},
        "tiny_vae": {"source": "tiny_vae"},
        "fast": {"steps": 9, "cache": {"interval": 3, "first": 2}, "decoder": "tiny"},
    },
    "other_flux": {},
    "nan_flux": {},
    "black_flux": {},
    "nan_with_fallback": {"source": "nan_flux", "fallback": "other_flux"},
    "nan_with_lesser_fallback": {"source": "nan_flux", "fallback": "tiny_generic"},
    "nan_in_bfloat16": {"source": "nan_flux", "dtype": "bfloat16"},
    "absent_flux": {},
    "distant_flux": {"source": "", "hub": "nobody/nothing"},
    "huge_flux": {"source": "other_flux", "bytes": {"float32": 10**15}},
    "bare_flux": {"base": "other_flux", "adapters": ["absent_lora"], "source": "other_flux"},
    "torn_flux": {"base": "other_flux", "adapters": ["no_lora"], "source": "other_flux"},
    **{
        f"nan_before_{each}": {"source": "nan_flux", "fallback": each}
        for each in ("absent_flux", "huge_flux", "bare_flux", "torn_flux")
    },
    "tiny_specialist": {"base": "tiny_flux", "adapters": ["tiny_lora"], "source": "tiny_flux"},
}
ADAPTERS = [
    {"id": "tiny_lora", "base": "tiny_flux", "source": "tiny_lora", "license": "MIT"},
    {"id": "absent_lora", "base": "other_flux", "source": "absent_lora", "license": "MIT"},
    {"id": "no_lora", "base": "other_flux", "source": "tiny_vae", "license": "MIT"},
]


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    """Return a catalog of the tiny pipelines and of some that cannot be had."""
    models = [{**rows.FLUX, "source": model, "id": model, **changes} for model, changes in FLUX_ROWS.items()]
    models += [rows.SDXL, rows.REFINED, rows.GENERIC]
    file = tmp_path / "tiny.toml"
    file.write_text(_toml("model", models) + _toml("adapter", ADAPTERS))
    return file


def _toml(table: str, entries: list[dict[str, Any]]) -> str:
    tables = ("\n".join(f"{key} = {_value(value)}" for key, value in entry.items()) for entry in entries)
    return "".join(f"[[{table}]]\n{each}\n\n" for each in tables)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
async def start(models_dir: Path, catalog_file: Path) -> AsyncIterator[Start]:
    """Start a server with some settings changed; it stops with the test."""
    async with AsyncExitStack() as stack:

        async def run(**changes: Any) -> Client:
            registry = CollectorRegistry()
            settings = local(
                ImagegenSettings,
                **{
                    "port": 0,
                    "models_dir": models_dir,
                    "catalog_file": catalog_file,
                    "threads": 1,
                    "dtype": "float32",
                    "download": False,
                    "progress_per_s": 1e6,  # each step: tiny ones are too quick for a pause
                    **changes,
                },
            )
            return Client(await stack.enter_async_context(serve(build(settings, registry))), registry)

        yield run


@pytest.fixture
async def client(start: Start) -> Client:
    """Return a client of a server with usual settings."""
    return await start()
