"""A Job that is there cannot be changed: who applies an overlay again deletes its Jobs before."""

import re
from collections.abc import Iterator

from tests.ops.kubernetes import overlays
from tests.ops.tools import ROOT

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
APPLY = re.compile(r"(.*)kubectl apply -k deploy/k8s/overlays/([\w-]+)\n", re.DOTALL)
WAIT = re.compile(r"kubectl -n atelier wait --for=condition=complete job/([\w-]+) --timeout=(\d+)h")


def blocks() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "docs").rglob("*.md"):
        for block in BLOCK.findall(page.read_text()):
            yield page.name, block


def test_pages_delete_a_job_before_they_apply_it() -> None:
    pages = set()
    for page, block in blocks():
        if applied := APPLY.match(block):
            before, overlay = applied.groups()
            for job in overlays.build(overlay).all("Job"):
                assert f"delete job {job['metadata']['name']} --ignore-not-found\n" in before, page
                pages.add(page)
    assert pages == {"kubernetes.md", "upgrade.md"}


def test_a_job_stays_for_those_who_wait_for_it() -> None:
    waits = [match.groups() for _, block in blocks() for match in WAIT.finditer(block)]
    assert waits
    for name, hours in waits:
        assert overlays.build("gpu-cluster").one("Job", name)["spec"]["ttlSecondsAfterFinished"] > 3600 * int(hours)
