"""Keeps the studio up in the foreground until Ctrl-C."""

import os
import shlex
import sys

from honcho.manager import Manager
from honcho.printer import Printer

from deploy.local.studio import processes

PORTS = {
    "router": (50051, 9101),
    "imagegen": (50052, 9102),
    "voice": (50053, 9103),
    "rewrite_llm": (50054, 9104),
}


def main() -> None:
    """Print the endpoints and run the services; when one ends, the others are stopped."""
    services = processes(PORTS, {"LOG_FORMAT": "console"})
    manager = Manager(Printer(sys.stdout))
    print("service       gRPC               metrics")
    for each in services:
        print(f"{each.name:<13} {each.address:<18} http://127.0.0.1:{each.metrics_port}/metrics")
        manager.add_process(each.name, shlex.join(each.command), env=os.environ | each.environment)
    print('try: .venv/bin/atelier image "a red star logo on a white background" -o star.png', flush=True)
    manager.loop()
    sys.exit(manager.returncode)


if __name__ == "__main__":
    main()
