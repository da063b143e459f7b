"""Reads a service's Prometheus endpoint."""

import asyncio
import urllib.request

from deploy.local.studio import Studio


async def scrape(studio: Studio, service: str) -> str:
    """Return the metrics page of a service."""
    url = f"http://127.0.0.1:{studio.services[service].metrics_port}/metrics"

    def get() -> str:
        with urllib.request.urlopen(url, timeout=10) as reply:
            text: str = reply.read().decode()
            return text

    return await asyncio.to_thread(get)
