"""Where a checkpoint is on this disk, and how the hub's gets there: not before its licence was agreed to."""

from pathlib import Path

from servekit.errors import Cancelled, ModelUnavailable
from servekit.worker import CancelToken

CONFIG, VOCABULARY, SPEAKERS = "config.json", "vocab.json", "speakers_xtts.pth"
SAFETENSORS, PICKLE = "model.safetensors", "model.pth"
REQUIRED = (CONFIG, VOCABULARY, SPEAKERS, PICKLE)
"""What is fetched from the hub, small files first."""

LICENCE = (
    "the weights are under the Coqui Public Model License (CPML): use of the model and of the speech it makes is for"
    " non-commercial purposes only, see https://coqui.ai/cpml"
)

SAMPLE_RATE = 24000
"""Hertz of every XTTS v2, which is told before one is loaded."""


class Checkpoint:
    """The checkpoint that a catalog row names: `source` is a folder, or `owner/name[@revision]` on the hub.

    `endpoint` is the hub's address and `cache` its folder on this disk; None for the library's own defaults.
    """

    def __init__(
        self, source: str, *, agreed: bool, models_dir: Path, endpoint: str | None = None, cache: Path | None = None
    ) -> None:
        self._folder = models_dir / Path(source).expanduser()
        self._hub, _, self._revision = source.partition("@")
        self._agreed = agreed
        self._endpoint = endpoint
        self._cache = cache

    def local(self) -> Path | None:
        """Return the folder if it is complete on this disk."""
        if _is_complete(self._folder):
            return self._folder
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(self._hub, CONFIG, revision=self._revision or None, cache_dir=self._cache)
        except HFValidationError:
            return None
        folder = Path(found).parent if isinstance(found, str) else None
        return folder if folder and _is_complete(folder) else None

    def fetch(self, token: CancelToken) -> Path:
        """Return the folder, after downloading it if need be, a file at a time. Blocks.

        Raises `ModelUnavailable` saying how to get it, `Cancelled` between files.
        """
        found = self.local()
        if found is not None:
            return found
        self._check_may_download()
        from huggingface_hub import hf_hub_download

        try:
            for name in REQUIRED:
                token.check()
                path = hf_hub_download(
                    self._hub, name, revision=self._revision or None, endpoint=self._endpoint, cache_dir=self._cache
                )
        except Cancelled:
            raise
        except Exception as error:  # the errors of the hub's client, and of the one below it, have no common base
            raise ModelUnavailable(
                f"XTTS cannot be fetched from {self._hub} ({type(error).__name__}); download it where there is a"
                f" network, and name its folder as `source` in the catalog"
            ) from error
        return Path(path).parent

    def _check_may_download(self) -> None:
        """Raise `ModelUnavailable` unless there is something to download and its licence was agreed to."""
        if self._hub.count("/") != 1 or self._folder.is_dir():
            wanted = ", ".join((CONFIG, VOCABULARY, f"{SAFETENSORS} or {PICKLE}"))
            raise ModelUnavailable(f"no XTTS checkpoint in {self._folder}; needed are {wanted}")
        if not self._agreed:
            raise ModelUnavailable(
                f"XTTS is not on this disk, and {LICENCE}. Set COQUI_TOS_AGREED=1 if you agree, and {self._hub}"
                " (1.9 GB) is downloaded when it is next asked for"
            )


def _is_complete(folder: Path) -> bool:
    names = (CONFIG, VOCABULARY)
    return all((folder / each).is_file() for each in names) and any(
        (folder / each).is_file() for each in (SAFETENSORS, PICKLE)
    )
