"""awslabs.mcp-lambda-handler, its sessions in DynamoDB, over HTTP: ``gunicorn benchmarks.peers.awslabs_server``.

Lambda hands the handler an API Gateway event (method, headers, body as text) and gets status, headers and body; this
WSGI application does that and no more. Lambda would run one event at a time in a process; here gunicorn's threads run
as many as come, which flatters it. A store is two GetItem and one UpdateItem, a read two GetItem: the handler reads the
session to check it, and again for the tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from awslabs.mcp_lambda_handler import MCPLambdaHandler  # type: ignore[import-not-found]
from awslabs.mcp_lambda_handler.session import DynamoDBSessionStore  # type: ignore[import-not-found]

handler = MCPLambdaHandler("benchmark", session_store=DynamoDBSessionStore("awslabs"))


def store(value: str) -> str:
    """Store a value."""
    handler.update_session(lambda session: session.set("value", value))
    return "stored"


def read() -> str:
    """Read the value."""
    return str(handler.get_session().get("value"))


handler.tool()(store)
handler.tool()(read)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """One event for one request."""
    headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    event = {
        "httpMethod": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "headers": headers | {"content-type": environ.get("CONTENT_TYPE", "")},
        "body": environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode(),
    }
    answer = handler.handle_request(event, None)
    body = answer.get("body", "").encode()
    status = HTTPStatus(answer["statusCode"])
    lines = [*answer.get("headers", {}).items(), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", lines)
    return [body]
