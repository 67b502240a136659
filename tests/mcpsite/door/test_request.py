"""Headers as they came, whatever made the request of them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.test import RequestFactory

from mcpsite.door.request import DoorRequest, headers_of


async def receive() -> Any:
    raise AssertionError("no body is read")


@pytest.mark.parametrize(
    "make",
    [lambda scope: DoorRequest(scope, receive), lambda scope: ASGIRequest(scope, BytesIO())],
    ids=["the short door", "Django's handler"],
)
def test_names_with_an_underscore_and_lines_that_come_twice(make: Callable[[dict[str, Any]], HttpRequest]) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(b"Host", b"a"), (b"mcp-param-region_name", b"eu"), (b"accept", b"x"), (b"Accept", b"y")],
    }
    assert headers_of(make(scope)) == {"host": "a", "mcp-param-region_name": "eu", "accept": "x,y"}


def test_of_a_request_without_a_scope() -> None:
    request = RequestFactory().get("/mcp", headers={"Mcp-Session-Id": "a"})
    assert headers_of(request)["mcp-session-id"] == "a"
