"""What a client is told of a handler's failure, beside what the SDK's own app tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from django.db import OperationalError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ReadResourceRequestParams,
    ReadResourceResult,
)
from pytest_django import Settings

from mcpsite.endpoint.serving.errors import RESOURCE_NOT_FOUND
from tests.mcpsite.peers import LegacyPeer, ModernPeer
from tests.mcpsite.reference import Reference

Peers = LegacyPeer | ModernPeer

ARN: Final = "arn:aws:dynamodb:eu-west-1:123456789012:table/notes"
_AWS: Final = ClientError({"Error": {"Code": "AccessDeniedException", "Message": f"no {ARN}"}}, "GetItem")


class NotThere(Exception):
    """An author's own exception."""


def _from_aws() -> Exception:
    try:
        try:
            raise _AWS
        except ClientError as exc:
            raise ValueError(f"could not read: {exc}") from exc
    except ValueError as chained:
        return chained


RAISED: Final[Mapping[str, Exception]] = {
    "protocol": MCPError(code=-32050, message="Upstream is away", data={"retry": 5}),
    "value": ValueError("no such tool"),
    "own": NotThere("note 7 is not there"),
    "runtime": RuntimeError("the printer burns"),
    "file": FileNotFoundError("no note of that name"),
    "system": FileNotFoundError(2, "No such file or directory", "/srv/secret"),
    "database": OperationalError("could not connect to db.internal"),
    "aws": _AWS,
    "from aws": _from_aws(),
    "arn": ValueError(f"cannot use {ARN}"),
}


async def _tool(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
    raise RAISED[params.name]


async def _resource(ctx: ServerRequestContext[Any], params: ReadResourceRequestParams) -> ReadResourceResult:
    raise RAISED[str(params.uri).removeprefix("raised://x/").replace("%20", " ")]


async def _prompt(ctx: ServerRequestContext[Any], params: GetPromptRequestParams) -> GetPromptResult:
    raise RAISED[params.name]


low_level = Server("low-level", on_call_tool=_tool, on_read_resource=_resource, on_get_prompt=_prompt)


def high_level() -> MCPServer[Any]:
    """A new one each time, to be served by the SDK as well."""
    server: MCPServer[Any] = MCPServer("high-level")

    @server.tool()
    def refuse() -> str:
        """Raises a protocol error."""
        raise RAISED["protocol"]

    @server.prompt()
    def greet(name: str, style: str) -> str:
        """Raises what its style says."""
        raise RAISED[style]

    @server.resource("note://{name}")
    def note(name: str) -> str:
        """Raises what its name says."""
        raise {
            "none": ResourceNotFoundError("There is no such note"),
            "locked": ResourceError("The note is locked"),
            "protocol": RAISED["protocol"],
            "burnt": RAISED["runtime"],
        }[name]

    return server


served = high_level()

LOW_LEVEL_REQUESTS: Final[Mapping[str, Any]] = {
    "tools/call": lambda raised: {"name": raised, "arguments": {}},
    "resources/read": lambda raised: {"uri": f"raised://x/{raised}"},
    "prompts/get": lambda raised: {"name": raised},
}


@pytest.mark.parametrize("method", LOW_LEVEL_REQUESTS)
@pytest.mark.parametrize(
    ("raised", "with_sessions", "without"),
    [
        ("protocol", None, None),
        ("value", "no such tool", "no such tool"),
        ("own", "note 7 is not there", "Internal server error"),
        ("runtime", "the printer burns", "Internal server error"),
        ("file", "no note of that name", "Internal server error"),
        *((raised, "Internal server error", "Internal server error") for raised in ("system", "database", "aws")),
        *((raised, "Internal server error", "Internal server error") for raised in ("from aws", "arn")),
    ],
)
def test_a_low_level_handlers_exception_keeps_its_code_and_text_where_a_client_may_read_it(
    peer: Peers, settings: Settings, method: str, raised: str, with_sessions: str | None, without: str | None
) -> None:
    settings.MCP_SERVER = f"{__name__}:low_level"
    answer = peer.request(method, LOW_LEVEL_REQUESTS[method](raised))

    text = with_sessions if peer.era == "legacy" else without
    if text is None:
        assert answer.error == {"code": -32050, "message": "Upstream is away", "data": {"retry": 5}}
    else:
        assert answer.error == {"code": INTERNAL_ERROR, "message": text}
    assert b"123456789012" not in answer.content


def test_only_what_its_author_did_not_foresee_is_logged_with_a_traceback(
    legacy: LegacyPeer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MCP_SERVER = f"{__name__}:low_level"
    with caplog.at_level("INFO"):
        for foreseen in ("value", "protocol"):
            legacy.request("tools/call", {"name": foreseen, "arguments": {}})
        assert "Traceback" not in caplog.text
        assert "no such tool" not in caplog.text
        legacy.request("tools/call", {"name": "aws", "arguments": {}})
    assert ARN in caplog.text


# --- What the SDK itself refuses ------------------------------------------------------------------------------


REFUSED: Final[Mapping[str, tuple[str, dict[str, Any], int, str]]] = {
    "tool": ("tools/call", {"name": "refuse", "arguments": {}}, -32050, "Upstream is away"),
    "unknown prompt": ("prompts/get", {"name": "nope"}, INVALID_PARAMS, "Unknown prompt: nope"),
    "missing argument": (
        "prompts/get",
        {"name": "greet", "arguments": {"style": "runtime"}},
        INVALID_PARAMS,
        "Missing required arguments: {'name'}",
    ),
    "failing prompt": (
        "prompts/get",
        {"name": "greet", "arguments": {"name": "Ann", "style": "runtime"}},
        INTERNAL_ERROR,
        "Error rendering prompt greet",
    ),
    "prompt": (
        "prompts/get",
        {"name": "greet", "arguments": {"name": "Ann", "style": "protocol"}},
        -32050,
        "Upstream is away",
    ),
    "unknown resource": ("resources/read", {"uri": "nope://x"}, RESOURCE_NOT_FOUND, "Unknown resource: nope://x"),
    "missing resource": ("resources/read", {"uri": "note://none"}, RESOURCE_NOT_FOUND, "There is no such note"),
    "locked resource": ("resources/read", {"uri": "note://locked"}, INTERNAL_ERROR, "The note is locked"),
    "resource": ("resources/read", {"uri": "note://protocol"}, -32050, "Upstream is away"),
    "failing resource": (
        "resources/read",
        {"uri": "note://burnt"},
        INTERNAL_ERROR,
        "Error creating resource from template note://burnt",
    ),
}
"""What a client asks, and the code and text of the answer; -32002 is -32602 from 2026-07-28 on."""


@pytest.mark.parametrize("refused", REFUSED)
def test_an_error_has_the_specifications_code_in_both_eras_and_the_sdks_text(
    peer: Peers, settings: Settings, refused: str
) -> None:
    settings.MCP_SERVER = f"{__name__}:served"
    method, params, code, text = REFUSED[refused]
    error = peer.request(method, params).error
    expected = INVALID_PARAMS if code == RESOURCE_NOT_FOUND and peer.era == "modern" else code
    assert (error["code"], error["message"]) == (expected, text)


@pytest.fixture(scope="module")
def sdks_app() -> Iterator[Reference]:
    app = Reference(high_level(), json=True)
    with app.client:
        yield app


DIFFERENT: Final[Mapping[tuple[str, str], Any]] = {
    ("unknown prompt", "legacy"): 0,
    ("unknown prompt", "modern"): INTERNAL_ERROR,
    ("missing argument", "legacy"): 0,
    ("missing argument", "modern"): INTERNAL_ERROR,
    ("failing prompt", "legacy"): 0,
    ("failing prompt", "modern"): INTERNAL_ERROR,
    ("unknown resource", "legacy"): INVALID_PARAMS,
    ("missing resource", "legacy"): INVALID_PARAMS,
}
"""What the SDK's own app answers where we differ (``docs/servers.md``): a code, or a tool's result that failed."""


@pytest.mark.parametrize("era", [LegacyPeer, ModernPeer], ids=lambda peer: peer.era)
@pytest.mark.parametrize("refused", REFUSED)
def test_the_sdks_own_app_differs_where_the_documentation_says_so(
    sdks_app: Reference, dynamodb: object, era: type[Peers], refused: str
) -> None:
    method, params, code, text = REFUSED[refused]
    peer = era(sdks_app)
    if isinstance(peer, LegacyPeer):
        peer.connect()
    body = json.loads(peer.request(method, params).content)
    theirs = body["error"]["code"] if "error" in body else "a result"
    ours = INVALID_PARAMS if code == RESOURCE_NOT_FOUND and era is ModernPeer else code
    assert theirs == DIFFERENT.get((refused, era.era), ours)
    if theirs not in ("a result", INTERNAL_ERROR):
        assert body["error"]["message"] == text
