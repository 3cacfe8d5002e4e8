"""What keeps the tests of this room from failing where the machine is busy."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _an_agent_is_waited_for() -> Iterator[None]:
    """Let a run that ends wait for its agent, however long that takes: a test then reads what it has left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thermograd.ingest.agent.supervisor._AGENT_END_S", 300.0)
        patch.setattr("thermograd.ingest.agent.supervisor._LAST_LINES_S", 300.0)
        yield
