"""What a server object asks for in vain is said once, at the start, and nothing where it asked for nothing."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from pytest_django import Settings

from mcpsite.endpoint.server_object.loading import load_server
from sessions_dynamo import checks
from tests.conformance.processes import ROOT
from tests.mcpsite import servers

DOCS = (ROOT / "docs" / "servers.md").read_text()


class Store:
    """An event store, as far as anybody asks here."""


@pytest.fixture
def serve(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Have a server object served."""

    def serve(server: Any) -> None:
        load_server.cache_clear()
        monkeypatch.setattr(servers, "wishing", server, raising=False)
        settings.MCP_SERVER = "tests.mcpsite.servers:wishing"

    yield serve
    load_server.cache_clear()


def _said() -> list[str]:
    return [found.msg for found in run_checks() if found.id == "mcp_endpoint.W002"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"debug": True}, "debug=True is not followed. DEBUG"),
        ({"log_level": "WARNING"}, "log_level='WARNING' is not followed. LOG_LEVEL"),
        ({"dependencies": ["pandas"]}, "dependencies is not followed."),
    ],
)
def test_of_the_constructor(serve: Callable[[Any], None], wish: dict[str, Any], said: str) -> None:
    serve(MCPServer("wishing", **wish))
    (line,) = _said()
    assert said in line


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"stateless_http": True}, "stateless_http=True is not followed. Sessions live in DynamoDB"),
        ({"json_response": True}, "json_response=True is not followed."),
        ({"event_store": Store()}, "event_store=Store is not followed. Streams are stored in DynamoDB"),
        ({"retry_interval": 500}, "retry_interval=500 is not followed. STREAM_RETRY_MS"),
        ({"session_idle_timeout": None}, "session_idle_timeout=None is not followed."),
        ({"max_request_body_size": 1}, "max_request_body_size=1 is not followed. MCP_MAX_BODY_BYTES"),
        ({"max_sessions": 5}, "max_sessions=5 is not followed."),
        (
            {"transport_security": TransportSecuritySettings(enable_dns_rebinding_protection=False)},
            "transport_security=TransportSecuritySettings is not followed. ALLOWED_HOSTS",
        ),
    ],
)
@pytest.mark.parametrize("kind", [MCPServer, Server])
def test_of_an_application_that_the_author_made(
    serve: Callable[[Any], None], kind: Callable[[str], Any], wish: dict[str, Any], said: str
) -> None:
    server = kind("wishing")
    server.streamable_http_app(**wish)
    serve(server)
    (line,) = _said()
    assert said in line


@pytest.mark.parametrize("kind", [MCPServer, Server])
@pytest.mark.parametrize("is_made", [True, False])
def test_nothing_is_said_where_nothing_was_asked_for(
    serve: Callable[[Any], None], kind: Callable[[str], Any], is_made: bool
) -> None:
    server = kind("wishing")
    if is_made:
        server.streamable_http_app()
    serve(server)
    assert _said() == []


def test_a_start_has_it_in_its_log(
    serve: Callable[[Any], None], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True
    serve(MCPServer("wishing", debug=True))
    with caplog.at_level(logging.WARNING, checks.__name__):
        checks.refuse_to_start()
    (line,) = (record.getMessage() for record in caplog.records if "mcp_endpoint.W002" in record.getMessage())
    assert line.startswith("The server object's debug=True is not followed.")


def _documented(heading: str) -> set[str]:
    """The arguments that a table of the documentation has a row of."""
    section = DOCS.partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


@pytest.mark.parametrize(
    ("heading", "function"),
    [
        ("`MCPServer(…)`", MCPServer.__init__),
        ("`Server(…)`", Server.__init__),
        ("`streamable_http_app(…)` and `run(…)`", MCPServer.streamable_http_app),
        ("`streamable_http_app(…)` and `run(…)`", StreamableHTTPSessionManager.__init__),
    ],
)
def test_the_documentation_has_every_argument(heading: str, function: Callable[..., Any]) -> None:
    arguments = set(inspect.signature(function).parameters) - {"self"}
    # The session manager's names of the same.
    arguments -= {"app", "stateless", "security_settings"}
    assert arguments - _documented(heading) == set()


def test_the_documentation_has_every_argument_of_fastmcps() -> None:
    fastmcp = pytest.importorskip("fastmcp", reason="FastMCP 4 is not installed: its constructor is not compared")
    arguments = set(inspect.signature(fastmcp.FastMCP.__init__).parameters) - {"self", "kwargs"}
    assert arguments - _documented("`FastMCP(…)`") == set()
