"""The safety check: any image classifier in the format of transformers."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from servekit.device import DevicePlan, out_of_memory_as
from servekit.errors import PreconditionFailed
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.domain import Pixels, Verdict


class NsfwCheck:
    """`ports.SafetyCheck` over a transformers image classifier. Runs on the device thread.

    `model` is what verdicts call the classifier; `fetch` returns its folder.
    """

    def __init__(
        self,
        worker: DeviceWorker,
        model: str,
        plan: DevicePlan,
        *,
        unsafe: Sequence[str],
        threshold: float,
        fetch: Callable[[], Awaitable[Path]],
    ) -> None:
        self._worker = worker
        self._model = model
        self._plan = plan
        self._unsafe = frozenset(each.lower() for each in unsafe)
        self._threshold = threshold
        self._fetch = fetch
        self._classify: Any = None

    async def load(self) -> None:
        """Load the classifier.

        Raises `PreconditionFailed` without an unsafe label, `ModelUnavailable` if it cannot be had, OSError if its
        files are not those of a classifier.
        """
        folder = await self._fetch()
        self._classify = await self._worker.run(partial(self._load, folder))

    async def __call__(self, pixels: Pixels) -> Verdict:
        """Return the verdict on one picture: the scores of the unsafe labels, added up.

        Raises `DeviceOutOfMemory`.
        """
        image = Image.fromarray(pixels)
        results = await self._worker.run(lambda _: self._scores(image))
        score = sum(each["score"] for each in results if each["label"].lower() in self._unsafe)
        return Verdict(score >= self._threshold, min(score, 1.0), self._threshold, self._model)

    def _scores(self, image: Image.Image) -> Any:
        with out_of_memory_as(self._plan):
            return self._classify(image, top_k=None)

    def _load(self, folder: Path, _token: CancelToken) -> Any:
        from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True)
        labels = {str(label).lower() for label in model.config.id2label.values()}
        if not labels & self._unsafe:
            raise PreconditionFailed(
                f"{self._model} has the labels {', '.join(sorted(labels))}, and none of nsfw_classes"
                f" ({', '.join(sorted(self._unsafe))}) is among them"
            )
        processor = AutoImageProcessor.from_pretrained(folder)
        return pipeline("image-classification", model=model, image_processor=processor, device=self._plan.device)
