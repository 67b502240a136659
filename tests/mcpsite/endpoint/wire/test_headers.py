"""The transport's header rules, against the SDK's own reading of the same headers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory
from mcp.server.streamable_http import check_accept_headers
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from mcpsite.endpoint.wire import headers

ACCEPTS = [
    "",
    "application/json",
    "text/event-stream",
    "application/json, text/event-stream",
    "text/event-stream,application/json",
    "APPLICATION/JSON, Text/Event-Stream",
    "application/json;q=0.9, text/event-stream; charset=utf-8",
    "*/*",
    "application/*",
    "text/*",
    "application/*, text/*",
    "text/html",
    "application/jsonx, text/event-stream",
    ",,;",
]


def _request(**meta: Any) -> Any:
    return RequestFactory().generic("POST", "/mcp", b"", **meta)


@pytest.mark.parametrize("accept", ACCEPTS)
def test_accept_is_read_as_the_sdk_reads_it(accept: str) -> None:
    theirs = Request({"type": "http", "headers": [(b"accept", accept.encode())]})
    request = _request(HTTP_ACCEPT=accept)
    has_json, has_stream = check_accept_headers(theirs)

    assert headers.accepts(request) is (has_json and has_stream)
    assert headers.accepts(request, event_stream=False) is has_json
    assert headers.accepts(request, json=False) is has_stream


def test_without_accept_nothing_is_accepted() -> None:
    assert not headers.accepts(_request())


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/json;", True),
        ("Application/JSON", True),
        ("application/json-rpc", False),
        ("text/json", False),
        ("text/plain; application/json", False),
        ("multipart/form-data; boundary=x", False),
        ("", False),
        (";;;", False),
    ],
)
def test_the_content_type_is_json_or_not(content_type: str, expected: bool) -> None:
    assert headers.is_json(_request(CONTENT_TYPE=content_type)) is expected


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_a_version_that_a_handshake_negotiates_has_sessions(version: str) -> None:
    assert not headers.is_modern(_request(HTTP_MCP_PROTOCOL_VERSION=version))


@pytest.mark.parametrize("version", [*MODERN_PROTOCOL_VERSIONS, "2999-01-01", "", "x", "2025-11-25 , 2025-11-25"])
def test_any_other_version_has_none(version: str) -> None:
    assert headers.is_modern(_request(HTTP_MCP_PROTOCOL_VERSION=version))


def test_no_version_is_the_old_era() -> None:
    assert not headers.is_modern(_request())
