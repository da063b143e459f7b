from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local.studio import Studio


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    """The four real processes, shared by the tests that leave them as they were."""
    async with Studio(tmp_path_factory.mktemp("studio")) as running:
        yield running
