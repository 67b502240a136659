"""A request's body, read once and capped."""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpRequest
from mcp_types import PARSE_ERROR

from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.wire.messages import InvalidMessage

# RFC 9110, section 8.6: digits alone, where int() would take "-1" or "1_0" too; and no more than it will read.
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_PIECE: Final = 64 * 1024


class BodyTooLarge(Exception):
    """The body is over ``MCP_MAX_BODY_BYTES``."""


class LengthRequired(Exception):
    """The body's length is not known and this server cannot tell where it ends."""


def read_body(request: HttpRequest) -> bytes:
    """The body; raises ``BodyTooLarge``, ``LengthRequired``, or ``InvalidMessage`` for one that breaks off.

    Read from the WSGI input, not ``request.body``: Django takes a chunked body, which has no length, for an empty
    one, and answers HTML to one over ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
    """
    limit: int = conf.MCP_MAX_BODY_BYTES
    if hasattr(request, "_body"):
        # A project's middleware has read it.
        if len(request.body) > limit:
            raise BodyTooLarge
        return request.body
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        if not request.META.get("wsgi.input_terminated"):
            raise LengthRequired
        body = _read(request, limit + 1)
        if len(body) > limit:
            _discard(request, limit)
            raise BodyTooLarge
        return body
    text: str = request.META.get("CONTENT_LENGTH") or "0"
    if not _LENGTH.fullmatch(text):
        raise LengthRequired
    length = int(text)
    if length > limit:
        _discard(request, min(length, 2 * limit))
        raise BodyTooLarge
    body = _read(request, length)
    if len(body) < length:
        raise InvalidMessage(PARSE_ERROR, f"Parse error: the body ends after {len(body)} of {length} bytes")
    return body


def _read(request: HttpRequest, size: int) -> bytes:
    try:
        body: bytes = request.META["wsgi.input"].read(size)
    except Exception as exc:
        # Each server has errors of its own for chunks that are malformed and for a client that left.
        raise InvalidMessage(PARSE_ERROR, "Parse error: the body could not be read") from exc
    return body


def _discard(request: HttpRequest, size: int) -> None:
    """Take what a client is still sending, as much again as is allowed: cut off earlier, few read the answer."""
    while size > 0 and (piece := _read(request, min(size, _PIECE))):
        size -= len(piece)
