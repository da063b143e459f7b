"""Keeps the studio up in the foreground until Ctrl-C, which lets calls under way finish; a second one does not."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

from honcho import manager as honcho
from honcho.printer import Message, Printer

from deploy.local.settings_table import settings_class
from deploy.local.studio import SERVICES, Process, processes
from servekit.settings import WrongSettings, from_environment

PORTS = {
    "router": (50051, 9101),
    "imagegen": (50052, 9102),
    "voice": (50053, 9103),
    "rewrite_llm": (50054, 9104),
}

_SPARE_S = 10.0
"""Seconds that a service gets beyond its drain and its grace, to unload and exit."""


class _Printer(Printer):  # type: ignore[misc]
    """Prints what the services say, and calls `on_lost` when that cannot be written any more."""

    def __init__(self, output: TextIO, on_lost: Callable[[], None]) -> None:
        super().__init__(output)
        self._on_lost = on_lost

    def write(self, message: Message) -> None:
        """Print a message."""
        try:
            super().write(message)
        except OSError:  # who read it has ended, or the terminal is gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())
            self._on_lost()


class _Manager(honcho.Manager):  # type: ignore[misc]
    """A manager that passes on every signal after the first as well; a service then cuts its drain short.

    A signal that comes while the services are being started counts once they are, and can be stopped. They are also
    stopped once nobody reads any more what they say.
    """

    def __init__(self) -> None:
        super().__init__(_Printer(sys.stdout, self.terminate))

    def _start(self) -> None:
        first = signal.getsignal(signal.SIGTERM)
        early: list[int] = []
        for number in honcho.SIGNALS:
            signal.signal(number, lambda number, _: early.append(number))
        super()._start()
        self._await_start()
        for number in honcho.SIGNALS:
            signal.signal(number, partial(self._signalled, first))
        for number in early:
            signal.raise_signal(number)

    def _await_start(self) -> None:
        """Return when all process ids are known; what else was told meanwhile is still to be read."""
        told = []
        while not self._all_started():
            told.append(self.events.get())
            if told[-1].type == "start":
                self._processes[told[-1].name].update(told[-1].data)
        for message in told:
            self.events.put(message)

    def _signalled(self, first: Any, number: int, frame: Any) -> None:
        if self._terminating:
            self._killall()
        else:
            first(number, frame)


def patience_s() -> float:
    """Return how long the slowest service may take to stop, by its own settings; raises `WrongSettings`."""
    chosen = [from_environment(settings_class(name)) for name in SERVICES]
    return max(each.drain_delay_s + each.grace_s for each in chosen) + _SPARE_S


def serve(services: Sequence[Process], wait_s: float) -> int:
    """Run the services until a signal, until one ends or until standard output closes, and return the exit code.

    The others are stopped then; what is left `wait_s` after the first has ended is killed.
    """
    honcho.KILL_WAIT = wait_s
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is below nohup
        honcho.SIGNALS[signal.SIGHUP] = {"name": "SIGHUP", "rc": 129}
    manager = _Manager()
    for each in services:
        command = f"exec {shlex.join(each.command)}"  # in the place of honcho's shell, which would die at once
        manager.add_process(each.name, command, env=os.environ | each.environment)
    manager.loop()
    return int(manager.returncode)


def main() -> None:
    """Print the endpoints and run the services; when one ends, the others are stopped."""
    argparse.ArgumentParser(prog="python -m deploy.local.run", description=__doc__).parse_args()
    try:
        wait_s = patience_s()
    except WrongSettings as error:
        sys.exit("\n".join(f"cannot start: {line}" for line in str(error).splitlines()))
    services = processes(PORTS, {"LOG_FORMAT": "console"})
    print("service       gRPC               metrics")
    for each in services:
        print(f"{each.name:<13} {each.address:<18} http://127.0.0.1:{each.metrics_port}/metrics")
    print('try: .venv/bin/atelier image "a red star logo on a white background" -o star.png', flush=True)
    sys.exit(serve(services, wait_s))


if __name__ == "__main__":
    main()
