"""Where weights are on this disk, and how the hub's get there. Safetensors, and pickles only where that is allowed."""

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from servekit.errors import Cancelled, ModelUnavailable
from servekit.worker import CancelToken
from services.imagegen.catalog import Catalog
from services.imagegen.places import Weights
from services.imagegen.ports import FetchAdapter

_UNWANTED = ("flux1-*.safetensors", "sd_xl_*.safetensors", "*_0.9vae.safetensors", "sd3*.safetensors", "*.fp16.*")
"""Single-file copies of the same weights and 16-bit variants beside the full ones."""


class WeightStore:
    """The weights of a catalog's rows.

    `endpoint` is the hub's address and `cache` its folder on this disk; None for the library's own defaults.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        token: str | None,
        download: bool,
        allow_pickle: bool = False,
        endpoint: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self._models_dir = models_dir
        self._token = token
        self._download = download
        self._allow_pickle = allow_pickle
        self._endpoint = endpoint
        self._cache = cache

    def local(self, weights: Weights) -> Path | None:
        """Return the folder of the weights, None if they are not on this disk."""
        if weights.source:
            path = self._models_dir / weights.source
            return path if _has_weights(path) else None
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            path = Path(
                snapshot_download(
                    weights.hub, revision=weights.revision or None, cache_dir=self._cache, local_files_only=True
                )
            )
        except LocalEntryNotFoundError:
            return None
        return path if _has_weights(path) else None

    def require(self, name: str, weights: Weights) -> Path:
        """Return the folder of the weights; raises `ModelUnavailable` saying how to get them."""
        path = self.local(weights)
        if path is None:
            raise ModelUnavailable(f"{name}: {self.missing(weights)}")
        return path

    def missing(self, weights: Weights) -> str:
        """Say, for people, why the weights are not here and what to do."""
        if weights.source:
            return f"no weights in {weights.source} below the models folder; export them there, or set models_dir"
        return f"{weights.place} is not in the hub's cache on this disk; allow `download` and name it in `models`"

    def adapter_path(self, catalog: Catalog) -> Callable[[str], Path]:
        """Return the function from an adapter's id to its folder or file.

        It raises `ModelUnavailable` if that is not here.
        """

        def path(adapter_id: str) -> Path:
            row = catalog.adapters[adapter_id]
            return self.require(f"adapter {adapter_id}", row) / row.file

        return path

    def adapter_fetcher(self, catalog: Catalog) -> FetchAdapter:
        """Return what downloads adapters that are not on this disk; a cancelled download stops at the next file."""

        async def fetch(adapter_id: str) -> None:
            row = catalog.adapters[adapter_id]
            folder = self.local(row)
            if folder is None or not (folder / row.file).exists():
                await self.fetch_now(f"adapter {adapter_id}", row)

        return fetch

    async def fetch(
        self, name: str, weights: Weights, on_progress: Callable[[float], None], token: CancelToken
    ) -> Path:
        """Return the folder of the weights, downloading them if need be, a file at a time.

        Raises `ModelUnavailable` saying how to get them, `Cancelled` between files.
        """
        if weights.source or (self.local(weights) and not self._download):
            return self.require(name, weights)
        if not self._download:
            raise ModelUnavailable(f"{name}: {self.missing(weights)}")
        return await asyncio.to_thread(self._fetch, name, weights, on_progress, token)

    async def fetch_now(self, name: str, weights: Weights) -> Path:
        """Do the same for whoever waits here; a cancelled download stops at the next file."""
        token = CancelToken()
        try:
            return await self.fetch(name, weights, lambda _: None, token)
        except asyncio.CancelledError:
            token.cancel()
            raise

    def _fetch(self, name: str, weights: Weights, on_progress: Callable[[float], None], token: CancelToken) -> Path:
        from huggingface_hub import HfApi, hf_hub_download

        get = partial(hf_hub_download, weights.hub, token=self._token, endpoint=self._endpoint, cache_dir=self._cache)
        try:
            info = HfApi(self._endpoint, token=self._token).model_info(
                weights.hub, revision=weights.revision or None, files_metadata=True
            )
            files = _wanted(info.siblings or (), weights, self._allow_pickle)
            total, done, path = sum(size for _, size in files) or 1, 0, ""
            for file, size in files:
                token.check()
                path = get(file, revision=info.sha)
                done += size
                on_progress(done / total)
            if files and weights.revision != info.sha:
                get(files[-1][0], revision=weights.revision or "main")  # all is here: note under which name
        except Cancelled:
            raise
        except Exception as error:  # the errors of the hub's client, and of the one below it, have no common base
            local = self.local(weights)
            if local is not None:
                return local  # the hub is out of reach, the cache is not
            raise ModelUnavailable(_explained(name, weights, error, self._token)) from error
        if not path:
            raise ModelUnavailable(f"{name}: {weights.place} has none of the files wanted ({', '.join(weights.FILES)})")
        return _root(Path(path), files[-1][0])


def _has_weights(folder: Path) -> bool:
    """Tell whether a folder has weights or what belongs to them: a component may be no more than a tokenizer."""
    return any(any(folder.glob(pattern)) for pattern in ("*.json", "*.safetensors", "*.gguf"))


def _wanted(siblings: Sequence[Any], weights: Weights, allow_pickle: bool) -> list[tuple[str, int]]:
    """Return the files to download with their sizes: pickles only of folders that have no safetensors."""
    files = {each.rfilename: each.size or 0 for each in siblings if not _fits(each.rfilename, _UNWANTED)}
    safe = {file for file in files if _fits(file, weights.FILES)}
    if allow_pickle:
        covered = {Path(file).parent for file in safe if file.endswith(".safetensors")}
        safe |= {file for file in files if file.endswith(".bin") and Path(file).parent not in covered}
    return [(file, size) for file, size in files.items() if file in safe and weights.needs(file)]


def _fits(file: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(file, each) for each in patterns)


def _root(path: Path, file: str) -> Path:
    return path.parents[len(Path(file).parts) - 1]


def _explained(name: str, weights: Weights, error: Exception, token: str | None) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    page = f"https://huggingface.co/{weights.hub}"
    if isinstance(error, GatedRepoError):
        what = "HF_TOKEN's account must accept its licence" if token else "accept its licence and set HF_TOKEN"
        return f"{name}: {weights.hub} is gated, {what}: {page}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{name}: the hub knows no {weights.hub}, or it is private and HF_TOKEN may not read it: {page}"
    return (
        f"{name}: {weights.place} is not on this disk and the hub cannot be reached ({type(error).__name__});"
        " download it where there is a network and set HF_HUB_CACHE, or use a local `source`"
    )
