"""Started servers that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import servers


@pytest.fixture(scope="module")
def three_gunicorns(
    engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[servers.Server]]:
    with servers.gunicorns(engine[1], tmp_path_factory.mktemp("gunicorns"), 3) as started:
        yield started


@pytest.fixture(scope="module")
def development_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.runserver(tmp_path_factory.mktemp("runserver")) as started:
        yield started
