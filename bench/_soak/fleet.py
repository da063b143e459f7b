"""The studio of the soak: killed, stopped, started again, and given second replicas."""

from collections.abc import Mapping
from dataclasses import replace

from deploy.local.ports import unused
from deploy.local.studio import Process, Studio

REPLICATED = ("imagegen", "voice")
"""Services with a second replica during a rolling restart."""


class Fleet:
    """A running studio."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def pids(self) -> Mapping[str, int]:
        """Return the process of each service that runs."""
        return {name: each.pid for name, each in self.studio.running.items() if each.returncode is None}

    async def kill(self, name: str) -> None:
        """SIGKILL a service and start it again."""
        process = self.studio.running[name]
        process.kill()
        await process.wait()
        await self.studio.start(name)

    async def restart(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """SIGTERM a service, wait until it has drained, and start it again with more in its environment."""
        process = self.studio.running[name]
        process.terminate()
        await process.wait()
        service = self.studio.services[name]
        self.studio.services[name] = replace(service, environment=service.environment | dict(environment or {}))
        await self.studio.start(name)

    async def replicate(self) -> None:
        """Start a second replica of some services and tell the router."""
        targets = {}
        for name in REPLICATED:
            first = self.studio.services[name]
            second = _beside(first)
            self.studio.services[f"{name}-1"] = second
            await self.studio.start(f"{name}-1")
            targets[f"ATELIER_ROUTER_{name.upper()}_TARGETS"] = f"{first.address},{second.address}"
        await self.restart("router", targets)


def _beside(service: Process) -> Process:
    """Return the same service on other ports."""
    port, metrics_port = unused(2)
    prefix = f"ATELIER_{service.name.upper()}"
    ports = {f"{prefix}_PORT": str(port), f"{prefix}_METRICS_PORT": str(metrics_port)}
    return replace(service, port=port, metrics_port=metrics_port, environment=service.environment | ports)
