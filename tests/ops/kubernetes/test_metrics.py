"""Autoscalers ask for metrics that the services really export."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local.studio import SERVICES, Studio
from tests.e2e.metrics import scrape
from tests.ops.kubernetes import overlays

NAME = re.compile(r"\b(\w+)\{")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exported(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[set[str]]:
    async with Studio(tmp_path_factory.mktemp("studio")) as studio:
        pages = [await scrape(studio, name) for name in SERVICES]
    yield {name for page in pages for name in re.findall(r"^# TYPE (\w+) \w+$", page, re.MULTILINE)}


def asked_for() -> set[str]:
    built = [overlays.build(name) for name in overlays.NAMES]
    triggers = [each for one in built for scaled in one.all("ScaledObject") for each in scaled["spec"]["triggers"]]
    queries = [each["metadata"]["query"] for each in triggers if each["type"] == "prometheus"]
    scalers = [each for one in built for hpa in one.all("HorizontalPodAutoscaler") for each in hpa["spec"]["metrics"]]
    return {name.removesuffix("_bucket") for query in queries for name in NAME.findall(query)} | {
        each["pods"]["metric"]["name"] for each in scalers if each["type"] == "Pods"
    }


async def test_every_metric_is_exported(exported: set[str]) -> None:
    assert len(asked_for()) >= 6
    assert asked_for() - exported == set()


def test_every_autoscaler_has_its_deployment_for_itself() -> None:
    for name in overlays.NAMES:
        overlay = overlays.build(name)
        scaled = {each["spec"]["scaleTargetRef"]["name"] for each in overlay.all("ScaledObject")}
        scaled |= {each["spec"]["scaleTargetRef"]["name"] for each in overlay.all("HorizontalPodAutoscaler")}
        for deployment in overlay.all("Deployment"):
            assert ("replicas" in deployment["spec"]) != (deployment["metadata"]["name"] in scaled)
