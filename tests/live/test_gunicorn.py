"""gunicorn itself: bodies that only a real server can hand on, and a start that is refused with a reason."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.processes import ROOT, base_environment, site_environment
from tests.engines import free_port, on_dynamodb_local
from tests.live.servers import Server, gunicorn
from tests.mcpsite.peers import ENVELOPE, HANDSHAKE, JSON_HEADERS, MODERN, LegacyPeer

ACCEPT = JSON_HEADERS["Accept"]
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}).encode()


def _exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Bytes as they are, and the answer's status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def _head(*extra: str, content_type: str = "application/json") -> bytes:
    lines = ["POST /mcp HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}", f"Accept: {ACCEPT}", *extra]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


# --- Bodies ---------------------------------------------------------------------------------------------------


@on_dynamodb_local
def test_a_chunked_body_is_read(three_gunicorns: list[Server]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", three_gunicorns[0].port, timeout=30)
    parts = [INITIALIZE[:10], INITIALIZE[10:]]
    connection.request("POST", "/mcp", iter(parts), JSON_HEADERS, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    assert json.loads(response.read())["result"]["serverInfo"]["name"] == "dynamodb-sessions"


@on_dynamodb_local
def test_a_chunked_body_of_5_mb_is_too_large(three_gunicorns: list[Server]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", three_gunicorns[0].port, timeout=30)
    connection.request("POST", "/mcp", iter([b"x" * 1_000_000] * 5), JSON_HEADERS, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == -32600


@on_dynamodb_local
def test_the_connection_serves_on_after_a_body_that_was_refused_unread(three_gunicorns: list[Server]) -> None:
    send = three_gunicorns[0].connect()
    peer = LegacyPeer(send).connect()
    assert peer.post(b"x" * 5_000_000).status == 413
    assert peer.request("ping", headers={"Accept": "text/html"}).status == 406
    assert peer.request("ping").status == 200


@on_dynamodb_local
@pytest.mark.parametrize(
    "request_bytes",
    [
        _head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
        _head("Transfer-Encoding: chunked") + b"5\r\n{}\r\n",
        _head("Content-Length: 100") + b"{}",
        _head("Content-Length: -1") + b"{}",
        _head("Content-Length: 2", content_type="application/json; x*=foo''bar") + b"{}",
        _head("MCP-Protocol-Version: \xff\xfe", "Content-Length: 2") + b"{}",
    ],
    ids=["chunk size", "chunk cut off", "body cut off", "negative length", "charset of a parameter", "Latin-1"],
)
def test_a_request_that_is_broken_below_json_is_the_clients_fault(
    three_gunicorns: list[Server], request_bytes: bytes
) -> None:
    status, _ = _exchange(three_gunicorns[0].port, request_bytes)
    assert 400 <= status < 500


@on_dynamodb_local
def test_routing_headers_that_are_sent_twice_disagree(three_gunicorns: list[Server]) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}).encode()
    twice = ["Mcp-Method: tools/list", "Mcp-Method: tools/list"]
    head = _head(f"MCP-Protocol-Version: {MODERN}", *twice, f"Content-Length: {len(body)}")
    status, answer = _exchange(three_gunicorns[0].port, head + body)
    assert (status, json.loads(answer)["error"]["code"]) == (400, -32020)


def test_the_development_server_reads_chunks_too(development_server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", development_server.port, timeout=30)
    connection.request("POST", "/mcp", iter([INITIALIZE]), JSON_HEADERS, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    assert "result" in json.loads(response.read())


# --- A start that is refused ----------------------------------------------------------------------------------


def _refused(directory: Path, **env: str | None) -> str:
    """What gunicorn wrote before it gave up; ``None`` leaves a variable out."""
    settings = site_environment("http://127.0.0.1:1", directory) | env
    done = subprocess.run(
        gunicorn(free_port()),
        cwd=ROOT,
        env={name: value for name, value in settings.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"MCP_AUTH": None}, "MCP_AUTH is not set"),
        ({"MCP_ALLOW_PUBLIC": None}, "MCP_ALLOW_PUBLIC is not set"),
        ({"MCP_AUTH": "no.such.callable"}, "MCP_AUTH='no.such.callable'"),
        ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
        ({"DATABASE_URL": None}, "DATABASE_URL is not set"),
        ({"MCP_SERVER": "mcpsite.server:nothing"}, "MCP_SERVER='mcpsite.server:nothing'"),
        ({"MCP_SERVER": "tests.live.unimportable:mcp"}, "SystemExit: 3 (" + str(ROOT / "tests/live/unimportable.py")),
        ({"DYNAMODB_EMBEDDED": "true"}, "DYNAMODB_EMBEDDED"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_gunicorn_does_not_start_without_what_it_needs(
    tmp_path: Path, env: dict[str, str | None], sentence: str
) -> None:
    if (ROOT / ".env").exists():
        pytest.skip("A .env file fills in what this test leaves out")
    assert sentence in _refused(tmp_path, **env)


def test_nothing_set_at_all_names_all_that_is_missing(tmp_path: Path) -> None:
    if (ROOT / ".env").exists():
        pytest.skip("A .env file fills in what this test leaves out")
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "mcpsite.asgi", "--bind", f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env=base_environment() | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    for name in ("SECRET_KEY", "DATABASE_URL", "MCP_AUTH"):
        assert f"{name} is not set" in done.stderr
