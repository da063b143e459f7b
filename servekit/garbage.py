"""When Python looks for garbage in cycles.

Every so often it walks through all objects that may be part of one, with every thread stopped: a quarter of a second
once torch and diffusers are imported. So what stays (libraries, models) is left out of that as soon as it is there, and
looked through only when a model has gone (docs/decisions/0054-garbage.md).
"""

import gc


def set_aside() -> None:
    """Collect garbage, and leave what is alive out of later collections. Call it when a model has been loaded."""
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Collect garbage among what was set aside, too. Call it when a model has been dropped."""
    gc.unfreeze()
    set_aside()
