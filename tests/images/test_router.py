"""The router's image as `make images` built it, run as Kubernetes would: read-only and without capabilities."""

import json
import subprocess
import uuid
from collections.abc import Iterator

import pytest

IMAGE = "localhost/atelier/router:dev"
RUNTIME = ("--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
LIMITS = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "none")
MOST_BYTES = 250_000_000


def podman(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, timeout=timeout)


@pytest.fixture
def container() -> Iterator[str]:
    name = f"atelier-test-{uuid.uuid4().hex[:8]}"
    started = podman("run", "--detach", "--name", name, *RUNTIME, *LIMITS, IMAGE)
    assert started.returncode == 0, started.stderr
    yield name
    podman("rm", "--force", "--time", "0", name)


def logged(container: str, message: str) -> None:
    """Read the log until a line has `message`."""
    with subprocess.Popen(
        ["podman", "logs", "--follow", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as log:
        assert log.stdout is not None
        found = any(message in line for line in log.stdout)
        log.terminate()
    assert found


def test_it_is_small() -> None:
    (image,) = json.loads(podman("inspect", "--type", "image", IMAGE).stdout)
    assert image["Size"] < MOST_BYTES


def test_it_says_who_runs_it_and_how_it_is_asked() -> None:
    (image,) = json.loads(podman("inspect", "--type", "image", IMAGE).stdout)
    assert image["Config"]["User"] == "10001:10001"
    assert image["Healthcheck"]["Test"] == ["CMD", "python", "-m", "servekit.healthcheck"]


def test_it_answers_its_health_check_and_stops_in_order(container: str) -> None:
    logged(container, '"ready after')
    assert podman("healthcheck", "run", container).returncode == 0
    assert podman("exec", container, "id", "-u").stdout.strip() == "10001"
    assert podman("exec", container, "touch", "/opt/atelier/x").returncode != 0
    assert podman("stop", "--time", "30", container).returncode == 0
    assert podman("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0"


def test_nothing_of_the_machine_that_built_it_is_left() -> None:
    look = "find / -xdev -name 'pip.conf' -o -xdev -path /src -o -xdev -path /root/.cache -o -xdev -path /root/.config"
    found = podman("run", "--rm", *RUNTIME, *LIMITS, "--user", "0", "--entrypoint", "/bin/sh", IMAGE, "-c", look)
    assert found.stdout == ""
