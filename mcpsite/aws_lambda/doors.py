"""What comes in by each front door of a function, as one kind of request: API Gateway, a function URL, an ALB."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import unquote, urlencode

from mcpsite.aws_lambda import prefixes
from mcpsite.door.base_path import normalised
from mcpsite.door.buffered import BUFFERED

Headers = list[tuple[bytes, bytes]]

_PORTS: Final = {"http": 80, "https": 443}


class Door(Enum):
    """By which form an event asks, and so in which it is answered."""

    FORMAT_1 = "API Gateway, payload format 1.0"
    FORMAT_2 = "API Gateway or a function URL, payload format 2.0"
    ALB = "an Application Load Balancer"


class MalformedEvent(Exception):
    """An event in the form of a front door that lacks a part, or has one that cannot be read."""


@dataclass(frozen=True, slots=True)
class HttpEvent:
    """One HTTP request of an event."""

    door: Door
    method: str
    path: str
    """Decoded, with the prefix."""
    root_path: str
    """The prefix: the stage or base path that clients have in their URLs before the site's own paths."""
    query: bytes
    headers: Headers
    """Names in lower case."""
    body: bytes
    client: str
    """The address of whoever asks; empty where the event does not tell."""
    has_many_headers: bool
    """Whether an ALB takes several headers of one name."""

    def scope(self, event: Mapping[str, Any], context: object) -> dict[str, Any]:
        """The ASGI scope; Lambda's own event and context are in it."""
        named = dict(self.headers)
        scheme = named.get(b"x-forwarded-proto", b"https").decode("latin-1")
        host, _, port = named.get(b"host", b"localhost").decode("latin-1").partition(":")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": scheme if scheme in _PORTS else "https",
            "path": self.path,
            "raw_path": None,
            "root_path": self.root_path,
            "query_string": self.query,
            "headers": self.headers,
            "client": (self.client, 0) if self.client else None,
            "server": (host, int(port) if port.isdecimal() else _PORTS.get(scheme, 443)),
            BUFFERED: True,
            "aws.event": event,
            "aws.context": context,
        }


def request_of(event: Mapping[str, Any], base_path: str) -> HttpEvent | None:
    """The HTTP request of an event; ``None`` where it is none of a front door's. ``base_path`` is MCP_BASE_PATH.

    Raises ``MalformedEvent`` for what no front door makes, but somebody who invokes the function by hand.
    """
    context = event.get("requestContext")
    if not isinstance(context, Mapping):
        return None
    try:
        if "elb" in context:
            return _of_alb(event, base_path)
        if isinstance(context.get("http"), Mapping):
            return _of_format_2(event, context["http"], base_path)
        if "httpMethod" in event:
            return _of_format_1(event, context, base_path)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise MalformedEvent(
            f"The event has the form of a front door's, but a part is missing or not as it should be:"
            f" {type(exc).__name__}: {exc}"
        ) from exc
    return None


def _of_format_1(event: Mapping[str, Any], context: Mapping[str, Any], base_path: str) -> HttpEvent:
    path, inner = prefixes.of_format_1(event)
    query = event.get("multiValueQueryStringParameters") or event.get("queryStringParameters") or {}
    return _request(
        event,
        Door.FORMAT_1,
        method=event["httpMethod"].upper(),
        placed=prefixes.placed(path, inner, normalised(base_path)),
        query=urlencode(query, doseq=True),
        client=(context.get("identity") or {}).get("sourceIp"),
    )


def _of_format_2(event: Mapping[str, Any], http: Mapping[str, Any], base_path: str) -> HttpEvent:
    path, inner = prefixes.of_format_2(event)
    return _request(
        event,
        Door.FORMAT_2,
        method=http["method"].upper(),
        placed=prefixes.placed(path, inner, normalised(base_path)),
        query=event.get("rawQueryString") or "",
        client=http.get("sourceIp"),
    )


def _of_alb(event: Mapping[str, Any], base_path: str) -> HttpEvent:
    path = unquote(event.get("path") or "/")
    query = event.get("multiValueQueryStringParameters") or event.get("queryStringParameters") or {}
    # Its parameters are as they came, encoded.
    pairs = [(name, value) for name, given in query.items() for value in ([given] if isinstance(given, str) else given)]
    forwarded = [value for name, value in _headers(event) if name == b"x-forwarded-for"]
    return _request(
        event,
        Door.ALB,
        method=event["httpMethod"].upper(),
        placed=prefixes.placed(path, path, normalised(base_path)),
        query="&".join(f"{name}={value}" for name, value in pairs),
        # The balancer adds the address that it saw, behind whatever the client said.
        client=forwarded[-1].decode("latin-1").rpartition(",")[2].strip() if forwarded else None,
    )


def _request(
    event: Mapping[str, Any], door: Door, *, method: str, placed: tuple[str, str], query: str, client: str | None
) -> HttpEvent:
    text = event.get("body") or ""
    body = (
        base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode("utf-8", "surrogatepass")
    )
    headers = [(name, value) for name, value in _headers(event) if name != b"content-length"]
    if body:
        # Of the body as it is here: the event's own may be missing, or of the text in base64.
        headers.append((b"content-length", str(len(body)).encode()))
    return HttpEvent(
        door=door,
        method=method,
        root_path=placed[0],
        path=placed[1],
        query=query.encode("utf-8", "surrogatepass"),
        headers=headers,
        body=body,
        client=client or "",
        has_many_headers="multiValueHeaders" in event,
    )


def _headers(event: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    many = event.get("multiValueHeaders")
    given: Mapping[str, Any] = many or event.get("headers") or {}
    for name, values in given.items():
        for value in values if isinstance(values, list) else [values]:
            yield name.lower().encode("latin-1", "replace"), _encoded(value)
    if cookies := event.get("cookies"):
        yield b"cookie", _encoded("; ".join(cookies))


def _encoded(value: object) -> bytes:
    """A header's value as a server would have had it."""
    text = str(value)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
