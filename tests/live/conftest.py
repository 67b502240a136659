"""Started servers that the tests of a module share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import start_or_skip
from tests.engines import DYNAMODB_LOCAL, ENGINES
from tests.live import servers


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, start_engine: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """As everywhere, but each module has a DynamoDB Local of its own: one that has served for long is slow."""
    with ExitStack() as running:

        def start(name: str) -> str:
            return running.enter_context(ENGINES[name]()) if name == DYNAMODB_LOCAL else start_engine(name)

        yield start_or_skip(request.param, start)


@pytest.fixture(scope="module")
def three_gunicorns(
    engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[servers.Server]]:
    with servers.gunicorns(engine[1], tmp_path_factory.mktemp("gunicorns"), 3) as started:
        yield started


@pytest.fixture(scope="module")
def development_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.runserver(tmp_path_factory.mktemp("runserver"), "--noreload") as started:
        yield started
