"""Who may call, what, how often: authentication, roles, limits, and a log of what was refused.

`Guard` does all of it for one call. What it goes by is in a callers file (`callers`), which is read again when it
changes.
"""

from servekit.access.credentials import Credentials
from servekit.access.guard import Guard, guard_of

__all__ = ["Credentials", "Guard", "guard_of"]
