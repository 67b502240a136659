"""A pytest plugin for the SDK's own interaction tests: what they serve over Streamable HTTP is served by this site.

It is loaded where the SDK's ``tests`` package hides ours, and so imports nothing of it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final

import pytest

TRANSPORT: Final = "streamable-http"
_numbers = count()
_running = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the site's storage, before any test."""
    import django

    os.environ |= {
        "DEBUG": "true",
        "DJANGO_SETTINGS_MODULE": "mcpsite.settings",
        "MCP_AUTH": "mcpsite.endpoint.access.auth.public",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1",
        "RECORD_CALLS": "false",
        "DYNAMODB_SESSIONS_TABLE": f"sessions-{secrets.token_hex(4)}",
        "DYNAMODB_EVENTS_TABLE": f"events-{secrets.token_hex(4)}",
    }
    os.environ["AWS_ENDPOINT_URL"] = _running.enter_context(_moto())
    django.setup()
    from sessions_dynamo.tables.setup import ensure_tables

    ensure_tables()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it."""
    _running.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the site in the SDK's place, and keep the tests that run over it."""
    sys.modules["tests.interaction.conftest"]._FACTORIES[TRANSPORT] = _connect
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        (kept if parameters.get("connect", ("",))[0] == TRANSPORT else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@contextmanager
def _moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@asynccontextmanager
async def _connect(server: Any, *, spec_version: str, **options: Any) -> AsyncIterator[Any]:
    """As ``connect_over_streamable_http`` of the SDK's tests, over this site."""
    import httpx2
    from django.core.asgi import get_asgi_application
    from django.test import override_settings
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    from mcpsite.door.short_door import ShortDoor
    from mcpsite.endpoint.loop import close_loop

    bridge = sys.modules["tests.interaction.transports._bridge"]
    base = "http://127.0.0.1:8000"
    name = f"server{next(_numbers)}"
    setattr(sys.modules[__name__], name, server)
    mode = spec_version if spec_version in MODERN_PROTOCOL_VERSIONS else "legacy"
    transport = bridge.StreamingASGITransport(ShortDoor(get_asgi_application()))
    with override_settings(MCP_SERVER=f"{__name__}:{name}"):
        try:
            async with (
                httpx2.AsyncClient(transport=transport, base_url=base) as http,
                Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=mode, **options) as client,
            ):
                yield client
        finally:
            await close_loop()
