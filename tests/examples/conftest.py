"""One example at a time, as gunicorn serves it: two processes over one DynamoDB Local, none of them sticky."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.conformance.processes import ROOT, Children
from tests.conftest import start_or_skip
from tests.engines import DYNAMODB_LOCAL, ENGINES
from tests.live.stream_sites import StreamSite, prepare

LEASE_SECONDS = 2


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The settings of a site whose tables and database are there."""
    with ExitStack() as running:
        _, url = start_or_skip(DYNAMODB_LOCAL, lambda name: running.enter_context(ENGINES[name]()))
        children = Children()
        running.callback(children.close)
        yield prepare(children, url, tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, prepared: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StreamSite]:
    """The example that the module names, ``EXAMPLE``, with its ``SETTINGS``."""
    example: str = request.module.EXAMPLE
    served = {
        "MCP_SERVER": f"{ROOT / 'examples' / example / 'server.py'}:mcp",
        "STREAM_LEASE_SECONDS": str(LEASE_SECONDS),
        **request.module.SETTINGS,
    }
    children = Children()
    try:
        started = StreamSite(children, {**prepared, **served}, tmp_path_factory.mktemp(example), 2)
        yield started
        started.balancer.close()
    finally:
        children.close()
