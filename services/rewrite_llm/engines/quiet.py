"""Keeps the libraries from writing past our log: each of its lines is one record in the form that was asked for."""

import logging

_LIBRARIES = ("huggingface_hub", "transformers")


def be_quiet() -> None:
    """Stop the libraries from drawing bars, and let their records come to our log alone."""
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
