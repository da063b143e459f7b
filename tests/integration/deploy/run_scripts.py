"""`make run` with two scripts in the place of the services; both tell of every SIGTERM and end with the `last` one."""

import sys
from dataclasses import dataclass

from deploy.local.run import serve
from deploy.local.studio import Process

CODE = """
import signal, sys

left = {last}

def asked(*_):
    global left
    left -= 1
    print("asked", flush=True)
    if not left:
        sys.exit(0)

signal.signal(signal.SIGTERM, asked)
print("up", flush=True)
while True:
    signal.pause()
"""


@dataclass(frozen=True)
class Script(Process):
    """A program that waits for signals."""

    last: int = 1

    @property
    def command(self) -> list[str]:
        """Return its command line."""
        return [sys.executable, "-c", CODE.replace("{last}", str(self.last))]


if __name__ == "__main__":
    first, second = map(int, sys.argv[1:])
    sys.exit(serve([Script("first", 1, 1, {}, first), Script("second", 1, 1, {}, second)], wait_s=60))
