"""Loading a transformer of 2 GB from the page cache: as imagegen does beside the library's `from_pretrained`.

The files are float32, random, and written by the library. Each load is followed by one look at every page of the
weights, because weights that are only mapped have not been read yet. Later loads map what the first one kept; loads in
the files' own data type are mapped by both. Then the way back from host memory, beside one copy of as many bytes.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench._figures import Figure
from bench._timing import seconds_of

_PAGE_BYTES = 4096
_LAYERS = 3
_HEADS = 12


def run(rounds: int = 3) -> list[Figure]:
    """Write the model, load it in turns, move it off and back; `rounds` times."""
    with tempfile.TemporaryDirectory(prefix="model-load-") as folder:
        return _measure(Path(folder), rounds)


def _measure(folder: Path, rounds: int) -> list[Figure]:
    import torch

    from services.imagegen.engines.converted import ConvertedWeights, read

    kind, source = _save(folder / "model")
    weights = ConvertedWeights(folder / "kept")
    first = _seconds(lambda: weights.load(kind, source, torch.bfloat16, {}))
    plain, ours, mapped = [], [], []
    for _ in range(rounds):
        plain.append(_seconds(lambda: read(kind, source, torch.bfloat16, {})))
        ours.append(_seconds(lambda: weights.load(kind, source, torch.bfloat16, {})))
        mapped.append(_seconds(lambda: weights.load(kind, source, torch.float32, {})))
    faster = median(before / after for before, after in zip(plain, ours, strict=True))
    size = sum(file.stat().st_size for file in source.glob("*.safetensors")) / 1e9
    return [
        Figure("bytes of the files", size, "GB", 1),
        Figure("float32 to bfloat16: from_pretrained", median(plain), "s", rounds),
        Figure("float32 to bfloat16: imagegen's first load, which keeps the result", first, "s", 1),
        Figure("float32 to bfloat16: imagegen's later loads", median(ours), "s", rounds),
        Figure("times faster than from_pretrained, pair by pair", faster, "x", rounds, ">= 1.5"),
        Figure("in the files' data type, mapped by both", median(mapped), "s", rounds),
        *_back_from_host(weights.load(kind, source, torch.bfloat16, {}), rounds),
    ]


def _save(folder: Path) -> tuple[Any, Path]:
    """Save a FLUX transformer of half a thousand million random weights; return its class and folder."""
    import torch
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    model: Any = FluxTransformer2DModel(
        num_layers=_LAYERS,
        num_single_layers=3 * _LAYERS,
        num_attention_heads=_HEADS,
        joint_attention_dim=2048,
        axes_dims_rope=(16, 56, 56),
    )
    model.save_pretrained(folder)
    return FluxTransformer2DModel, folder


def _seconds(load: Callable[[], Any]) -> float:
    """Return the seconds of a load and of one look at every page."""

    def look() -> None:
        for each in load().parameters():
            each.detach().view(-1)[:: _PAGE_BYTES // each.element_size()].sum()

    return seconds_of(look)


def _back_from_host(model: Any, rounds: int) -> list[Figure]:
    """Measure a return from host memory beside a copy of as many bytes to new memory."""
    import torch

    from servekit.device.host_copy import HostCopy

    copy = HostCopy([model], pinned=False)
    block = torch.ones(copy.bytes, dtype=torch.uint8)
    returns, copies = [], []
    for _ in range(rounds):
        copy.park()
        returns.append(seconds_of(lambda: list(copy.restore("cpu"))))
        copies.append(seconds_of(block.clone))
    slower = median(back / copied for back, copied in zip(returns, copies, strict=True))
    return [
        Figure("back from host memory", copy.bytes / 1e9 / median(returns), "GB/s", rounds),
        Figure("back from host memory beside one copy of as many bytes", slower, "x", rounds, "<= 1.2"),
    ]
