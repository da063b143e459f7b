"""imagegen with the bundled model: as a server of its own, and its engine with nothing around it.

`python -m bench._imagegen THREADS` serves with continuous batching and prints the address; with a second argument
`whole` the same server batches whole pictures, as a diffusers pipeline does: all of a batch take equally many steps,
and who comes while it is under way waits for its end.
"""

import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

import grpc
import uvloop
from PIL import Image

from atelier.imagegen.v1 import image_service_pb2
from bench._batches import WIDTH, Device
from bench._parts import helper
from deploy.local.studio import PATIENT

if TYPE_CHECKING:
    from atelier.imagegen.v1.image_service_pb2_grpc import ImageServiceAsyncStub
    from services.imagegen.domain import Job

Stub: TypeAlias = "ImageServiceAsyncStub"

MODEL = "sketch"
CLIENTS = 16
SAMPLES = 5
"""Turns by which a cost is measured."""
_RUNNING = 64
"""Requests that the batcher may choose among."""


def patient() -> None:
    """Have torch's threads wait as they do in deployments, here and in servers started from here.

    Call it before torch comes.
    """
    os.environ.update(PATIENT)


@asynccontextmanager
async def serving(*command: str) -> AsyncIterator[grpc.aio.Channel]:
    """Run a server, a module of this package and its arguments, and yield a channel to it."""
    with helper(*command) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel


@dataclass(frozen=True, slots=True)
class Kind:
    """What pictures are asked for."""

    steps: int
    side: int
    """Pixels of a side."""
    guidance: float = 3.5
    """Above 1 there is a second pass: twice the arithmetic."""


def prompt(seed: int) -> str:
    """Return a prompt that no other seed has, so that nothing kept from another picture helps."""
    return f"a red boat on a blue lake, {seed}"


def request(seed: int, kind: Kind) -> image_service_pb2.GenerateRequest:
    """Return a request for one picture."""
    return image_service_pb2.GenerateRequest(
        prompt=prompt(seed),
        model=MODEL,
        seed=seed,
        steps=kind.steps,
        guidance=kind.guidance,
        width=kind.side,
        height=kind.side,
    )


async def picture(stub: Stub, seed: int, kind: Kind) -> bytes:
    """Ask a server for a picture and return its file. Raises `RuntimeError` if none came."""
    chunks = [event.chunk.data async for event in stub.Generate(request(seed, kind)) if event.HasField("chunk")]
    if not chunks:
        raise RuntimeError("the server sent no picture")
    return b"".join(chunks)


class Direct:
    """The engine that the server has, loaded the same way, with nothing around it."""

    def __init__(self, threads: int) -> None:
        import torch

        from servekit.device import plan_device
        from services.imagegen import reading
        from services.imagegen.engines import registry
        from services.imagegen.engines.folders import Folders
        from services.imagegen.engines.loading import load_pipeline
        from services.imagegen.engines.parts import Parts
        from services.imagegen.settings import ImagegenSettings

        plan = plan_device(threads=threads)
        torch.set_num_threads(plan.threads)
        settings = ImagegenSettings()
        row = reading.load(settings.catalog_file, families=registry.FAMILIES).get(MODEL)
        models_dir = settings.models_dir
        folders = Folders(row.id, row.place, models_dir / row.source, {})
        steps = load_pipeline(folders, device=plan.device, dtype_name="float32", on_progress=lambda _: None)
        self._pipeline = end(steps)
        self._pipeline.set_progress_bar_config(disable=True)
        self._max_tokens = row.max_tokens
        self.engine = registry.build(Parts(row, self._pipeline, lambda name: models_dir / name, WIDTH))

    def by_the_library(self, seeds: list[int], kind: Kind) -> list[bytes]:
        """Make pictures as a program without a server does: call diffusers' pipeline, and save what it returns."""
        import torch

        images = self._pipeline(
            [prompt(seed) for seed in seeds],
            negative_prompt=[""] * len(seeds),
            true_cfg_scale=kind.guidance,
            num_inference_steps=kind.steps,
            width=kind.side,
            height=kind.side,
            max_sequence_length=self._max_tokens,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        ).images
        return [png(image) for image in images]

    def pictures(self, seeds: Sequence[int], kind: Kind) -> list[bytes]:
        """Make pictures in one batch from beginning to end and return their files."""
        states = self.engine.prepare_all(_jobs(seeds, kind))
        while states[0].done < states[0].total:
            self.engine.step(states, lambda _: None)
        return [png(Image.fromarray(each.pixels)) for each in self.engine.finish_all(states)]

    def costs(self, seeds: Iterator[int], kind: Kind) -> Device:
        """Measure what pictures of a kind cost, by how many are made at once."""
        costs = []
        for width in range(1, WIDTH + 1):
            turns = [self._turn(list(islice(seeds, width)), kind) for _ in range(SAMPLES)]
            costs.append([median(part) for part in zip(*turns, strict=True)])
        prepare, step, finish = zip(*costs, strict=True)
        return Device(step, prepare, finish)

    def _turn(self, seeds: Sequence[int], kind: Kind) -> tuple[float, float, float]:
        """Return the seconds of preparing, of a step, and of finishing."""
        began = time.perf_counter()
        states = self.engine.prepare_all(_jobs(seeds, kind))
        prepared = time.perf_counter()
        while states[0].done < states[0].total:
            self.engine.step(states, lambda _: None)
        drawn = time.perf_counter()
        self.engine.finish_all(states)
        return prepared - began, (drawn - prepared) / states[0].total, time.perf_counter() - drawn


def _jobs(seeds: Sequence[int], kind: Kind) -> list["Job"]:
    from services.imagegen.domain import Job

    size = (kind.side, kind.side)
    return [Job(prompt(seed), "", *size, steps=kind.steps, guidance=kind.guidance, seed=seed) for seed in seeds]


def png(image: Image.Image) -> bytes:
    """Return a picture's file, written as Pillow does unless told otherwise."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def end(steps: Any) -> Any:
    """Run a generator to its end and return its value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


async def _serve(threads: int, *, whole: bool) -> None:
    from prometheus_client import CollectorRegistry

    from services.imagegen import batching, turns
    from services.imagegen.bootstrap import build
    from services.imagegen.engines import loader
    from services.imagegen.settings import ImagegenSettings

    class WholePictures(batching.Batcher):
        """Takes nobody in while pictures are under way, then whoever wants as many steps as who waited longest."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._waiting: list[turns.Entry] = []

        def _join_and_leave(self) -> None:
            while self._inbox:
                self._waiting.append(self._inbox.popleft())
            if not self._active:
                alike = [each for each in self._waiting if each.job.steps == self._waiting[0].job.steps]
                self._active = alike[:WIDTH]
                self._waiting = [each for each in self._waiting if each not in self._active]
            super()._join_and_leave()

    if whole:
        patch.object(loader, "Batcher", WholePictures).start()
    settings = ImagegenSettings(
        port=0,
        metrics_port=None,
        models=(MODEL,),
        warm=(MODEL,),
        threads=threads,
        max_batch=WIDTH,
        max_running=_RUNNING,
        queue_limit=1000,
    )
    async with build(settings, CollectorRegistry()).serving() as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), whole="whole" in sys.argv))
