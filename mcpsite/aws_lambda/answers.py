"""What goes back by each front door: the site's answer in the form that the event's kind asks for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import product
from typing import Any, Final

from mcp_types import INTERNAL_ERROR

from mcpsite.aws_lambda.doors import Door, Headers, HttpEvent
from mcpsite.endpoint.wire.answers import encode, error_body

MAX_BYTES: Final = {Door.FORMAT_1: 6_000_000, Door.FORMAT_2: 6_000_000, Door.ALB: 1_000_000}
"""What a door takes of a function's result as JSON, with all that JSON escapes; the quotas are 6 MB and 1 MB."""

_TEXTS: Final = ("text/", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@dataclass(slots=True)
class Answer:
    """An answer in the making: what an ASGI application sends."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether it has begun as an event stream: what there is of it is good, and its client comes for the rest."""
        return dict(self.headers).get(b"content-type", b"").startswith(b"text/event-stream")

    def take(self, message: Any) -> None:
        """Take one message of ASGI's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", [])]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)


def form(answer: Answer, request: HttpEvent) -> dict[str, Any]:
    """The function's result. An answer that the door does not carry is a 500 that says so."""
    if request.method == "HEAD":
        # As any server does: an application may answer as if to GET.
        answer.body.clear()
    result = _form(answer, request, _text(answer))
    size, limit = _size(result), MAX_BYTES[request.door]
    if size > limit and request.door is not Door.FORMAT_1:
        # What JSON has to escape may be shorter so. A REST API decodes the types alone that it was told are binary.
        result = _form(answer, request, None)
        size = _size(result)
    if size > limit:
        refusal = sentence(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"The answer takes {size:,} bytes of a function's result, of which {request.door.value} carries"
            f" {limit // 1_000_000} MB. Ask for less, or have the service run where answers stream: docs/lambda.md.",
        )
        return _form(refusal, request, _text(refusal))
    return result


def sentence(status: HTTPStatus, text: str) -> Answer:
    """An answer of the function's own, in JSON-RPC's form: most clients here are of MCP."""
    body = encode(error_body(INTERNAL_ERROR, text))
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Answer(status, headers, bytearray(body.encode()), is_whole=True)


def _size(result: Mapping[str, Any]) -> int:
    """In bytes, as Lambda's runtime writes it where it writes ASCII alone: an image's does."""
    return len(json.dumps(result))


def _form(answer: Answer, request: HttpEvent, text: str | None) -> dict[str, Any]:
    """The result, with the body as this text, or in base64."""
    result: dict[str, Any] = {
        "statusCode": answer.status,
        "body": base64.b64encode(answer.body).decode() if text is None else text,
        "isBase64Encoded": text is None,
    }
    match request.door:
        case Door.FORMAT_2:
            cookies = [value.decode("latin-1") for name, value in answer.headers if name == b"set-cookie"]
            rest = [(name, value) for name, value in answer.headers if name != b"set-cookie"]
            return result | {"headers": _joined(rest)} | ({"cookies": cookies} if cookies else {})
        case Door.FORMAT_1:
            return result | {"multiValueHeaders": _listed(answer.headers)}
        case Door.ALB:
            described = {"statusDescription": f"{answer.status} {_phrase(answer.status)}".strip()}
            if request.has_many_headers:
                return result | described | {"multiValueHeaders": _listed(answer.headers)}
            return result | described | {"headers": _spelled(answer.headers)}


def _text(answer: Answer) -> str | None:
    """The body as text, where it is one."""
    named = dict(answer.headers)
    kind = named.get(b"content-type", b"").decode("latin-1").lower()
    if b"content-encoding" in named or (answer.body and not kind.startswith(_TEXTS)):
        return None
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _listed(headers: Headers) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for name, value in headers:
        listed.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return listed


def _spelled(headers: Headers) -> dict[str, str]:
    """One value a name: several of one name differ in its case, which a client does not read. So as many cookies go by
    an ALB without multi-value headers as a name of nine letters has spellings, 512."""
    spelled: dict[str, str] = {}
    for name, values in _listed(headers).items():
        if name == "set-cookie":
            spelled |= zip(_spellings(name), values, strict=False)
        else:
            spelled[name] = ", ".join(values)
    return spelled


def _spellings(name: str) -> Iterator[str]:
    """A name in every mixture of cases, each once."""
    return map("".join, product(*(dict.fromkeys((letter.lower(), letter.upper())) for letter in name)))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
