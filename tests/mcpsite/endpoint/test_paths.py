"""The endpoint with and without a slash at the end: users write either, and a redirected POST would lose its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest
from django.core.asgi import get_asgi_application
from django.urls import reverse
from pytest_django import Settings

from mcpsite.door.short_door import Application
from tests.mcpsite.peers import JSON_HEADERS, Answer, InProcess, LegacyPeer
from tests.mcpsite.site import Connection, application, on_the_loop

pytestmark = pytest.mark.usefixtures("dynamodb")

MOUNTED = "tests.mcpsite.endpoint.access.mounted"


@cache
def django_alone() -> Application:
    return get_asgi_application()


class At(InProcess):
    """The site by another path, and by either way in."""

    def __init__(self, path: str, app: Application) -> None:
        super().__init__()
        self.path = path
        self.app = app

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        async def serve() -> Connection:
            connection = Connection(method, self.path, body, headers, app=self.app)
            await connection.run()
            return connection

        served = on_the_loop(serve())
        return Answer(served.status, served.headers, b"".join(served.pieces))


@pytest.mark.parametrize("app", [application, django_alone], ids=["short door", "django"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/tools/mcp", "/tools/mcp/"])
def test_a_client_uses_either(settings: Settings, path: str, app: Callable[[], Application]) -> None:
    if path.startswith("/tools"):
        settings.ROOT_URLCONF = MOUNTED
    settings.APPEND_SLASH = True
    settings.STREAM_SECONDS = 0
    peer = LegacyPeer(At(path, app()))
    peer.connect()
    assert not peer.call("store_app_state", key="colour", data="blue").failed
    assert peer.call("get_app_state", key="colour").data["data"] == "blue"
    assert peer.send("GET", b"", {**JSON_HEADERS, **peer.headers}).status == 200
    assert peer.end().status == 200
    assert peer.request("ping").status == 404
    assert peer.post(b"{}", {"Origin": "https://evil.example"}).status == 403


def test_what_links_to_it_names_it_without() -> None:
    assert reverse("mcp") == "/mcp"
