"""One server for the tests of a module that leave it running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sessions_dynamo.asgi_server.servers import Gunicorn, gunicorn


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Its clients have two seconds to send and to take."""
    directory = tmp_path_factory.mktemp("gunicorn")
    with gunicorn(directory, REQUEST_READ_SECONDS="2", SEND_SECONDS="2") as server:
        yield server


@pytest.fixture
def server(shared: Gunicorn) -> Iterator[Gunicorn]:
    """The shared server; what a test connects is closed with it."""
    with shared.clients:
        yield shared
