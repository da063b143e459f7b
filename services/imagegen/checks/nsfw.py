"""The safety check: any image classifier in the format of transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from servekit.device import DevicePlan, out_of_memory_as
from servekit.errors import PreconditionFailed
from servekit.worker import CancelToken, DeviceWorker
from services.imagegen.domain import Pixels, Verdict


class NsfwCheck:
    """`ports.SafetyCheck` over a transformers image classifier. Runs on the device thread."""

    def __init__(
        self,
        worker: DeviceWorker,
        model: str,
        plan: DevicePlan,
        *,
        unsafe: Sequence[str],
        threshold: float,
        token: str | None,
    ) -> None:
        self._worker = worker
        self._model = model
        self._plan = plan
        self._unsafe = frozenset(each.lower() for each in unsafe)
        self._threshold = threshold
        self._token = token
        self._classify: Any = None

    async def load(self) -> None:
        """Load the classifier. Raises `PreconditionFailed` without an unsafe label, OSError if it cannot be had."""
        self._classify = await self._worker.run(self._load)

    async def __call__(self, pixels: Pixels) -> Verdict:
        """Return the verdict on one picture: the scores of the unsafe labels, added up.

        Raises `DeviceOutOfMemory`.
        """
        image = Image.fromarray(pixels)
        results = await self._worker.run(lambda _: self._scores(image))
        score = sum(each["score"] for each in results if each["label"].lower() in self._unsafe)
        return Verdict(score >= self._threshold, min(score, 1.0), self._threshold, Path(self._model).name)

    def _scores(self, image: Image.Image) -> Any:
        with out_of_memory_as(self._plan):
            return self._classify(image, top_k=None)

    def _load(self, _token: CancelToken) -> Any:
        from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

        model = AutoModelForImageClassification.from_pretrained(self._model, use_safetensors=True, token=self._token)
        labels = {str(label).lower() for label in model.config.id2label.values()}
        if not labels & self._unsafe:
            raise PreconditionFailed(
                f"{self._model} has the labels {', '.join(sorted(labels))}, and none of nsfw_classes"
                f" ({', '.join(sorted(self._unsafe))}) is among them"
            )
        processor = AutoImageProcessor.from_pretrained(self._model, token=self._token)
        return pipeline("image-classification", model=model, image_processor=processor, device=self._plan.device)
