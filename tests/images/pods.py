"""Plays the Deployments of the local overlay with podman, which stands in for a kubelet."""

import asyncio
import json
import os
import uuid
from copy import deepcopy
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.ops.kubernetes import overlays

OVERLAY = "local"
ENVIRONMENT = os.environ | {"CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf"))}
START_S = 300.0


class PodmanFailed(Exception):
    """podman ended with an error, which is the message."""


async def podman(*arguments: str) -> str:
    """Run podman and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        "podman", *arguments, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    if process.returncode:
        raise PodmanFailed(errors.decode())
    return out.decode()


class Pod:
    """One pod of a Deployment; `replica` tells those of the same service apart."""

    def __init__(self, network: str, folder: Path, service: str, replica: int) -> None:
        self._network = network
        self._service = service
        self._name = f"{network}-{service}-{replica}"
        self._file = folder / f"{self._name}.yaml"
        self.address = ""
        self.container: dict[str, Any] = {}

    async def start(self) -> None:
        """Play the Deployment and return when the pod is ready."""
        overlay = overlays.build(OVERLAY)
        deployment = deepcopy(overlay.one("Deployment", self._service))
        deployment["metadata"]["name"] = self._name
        (self.container,) = deployment["spec"]["template"]["spec"]["containers"]
        del self.container["ports"]  # podman would take them on the host, where a second replica would miss them
        for volume in deployment["spec"]["template"]["spec"]["volumes"]:
            volume["name"] = f"{self._name}-{volume['name']}"  # podman's volumes belong to nobody
        for mount in self.container["volumeMounts"]:
            mount["name"] = f"{self._name}-{mount['name']}"
        self._file.write_text(yaml.safe_dump_all([*overlay.all("ConfigMap"), deployment]))
        await podman("play", "kube", "--network", f"{self._network}:alias={self._service}", str(self._file))
        self.address = f"{await self._ip()}:{self.container['startupProbe']['grpc']['port']}"
        async with asyncio.timeout(START_S), grpc.aio.insecure_channel(self.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
                pass

    async def passes(self, probe: str) -> bool:
        """Probe the pod as the kubelet would."""
        wanted = self.container[probe]["grpc"]
        request = health_pb2.HealthCheckRequest(service=wanted.get("service", ""))
        async with grpc.aio.insecure_channel(self.address) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> int:
        """Stop the server as the kubelet does after `preStop`, and return its exit code."""
        await podman("stop", "--time", "90", self._server)
        return int(await podman("inspect", "--format", "{{.State.ExitCode}}", self._server))

    async def remove(self) -> None:
        """Leave nothing of the pod."""
        if self._file.exists():
            await podman("pod", "rm", "--force", "--time", "0", f"{self._name}-pod-0")
            await podman("volume", "rm", "--force", f"{self._name}-tmp")

    @property
    def _server(self) -> str:
        return f"{self._name}-pod-0-server"

    async def _ip(self) -> str:
        (pod,) = json.loads("[" + await podman("pod", "inspect", f"{self._name}-pod-0") + "]")
        (infra,) = json.loads(await podman("inspect", pod["InfraContainerID"]))
        address: str = infra["NetworkSettings"]["Networks"][self._network]["IPAddress"]
        return address


class Cluster:
    """A network and the pods in it."""

    def __init__(self, folder: Path) -> None:
        self.network = f"atelier{uuid.uuid4().hex[:6]}"
        self._folder = folder
        self.pods: dict[tuple[str, int], Pod] = {}

    async def start(self, service: str, replica: int = 0) -> Pod:
        """Start a pod and return it when it is ready."""
        pod = self.pods[service, replica] = Pod(self.network, self._folder, service, replica)
        await pod.start()
        return pod

    async def close(self) -> None:
        """Remove all pods and the network."""
        for pod in self.pods.values():
            await pod.remove()
        await podman("network", "rm", "--force", self.network)
