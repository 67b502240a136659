"""A request's body, read once and capped."""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpRequest
from mcp_types import PARSE_ERROR

from mcpsite.door.request import DoorRequest
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.wire.messages import InvalidMessage

# RFC 9110, section 8.6: digits alone, where int() would take "-1" or "1_0" too; and no more than it will read.
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class BodyTooLarge(Exception):
    """The body is over ``MCP_MAX_BODY_BYTES``."""


class LengthRequired(Exception):
    """The body's length is not known and this server cannot tell where it ends."""


async def read_body(request: HttpRequest) -> bytes:
    """The body; raises ``BodyTooLarge``, ``LengthRequired``, or ``InvalidMessage`` for one that breaks off.

    Counted while it comes: ``request.body`` answers HTML to one over ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
    """
    limit: int = conf.MCP_MAX_BODY_BYTES
    text: str = request.META.get("CONTENT_LENGTH") or "0"
    if not _LENGTH.fullmatch(text):
        raise LengthRequired
    if isinstance(request, DoorRequest):
        # Kept where Django keeps it: a handler may ask for it.
        request._body = await _receive(request, limit, int(text))
        return request._body
    # Another handler, or a project's middleware, has it all.
    body: bytes = request.body if hasattr(request, "_body") else request.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge
    request._body = body
    return body


async def _receive(request: DoorRequest, limit: int, length: int) -> bytes:
    """What comes, up to the limit; of more as much again is taken: cut off earlier, few clients read the answer."""
    pieces: list[bytes] = []
    size, more = 0, True
    while more and size <= 2 * limit:
        event = await request.receive()
        if event["type"] == "http.disconnect":
            raise InvalidMessage(PARSE_ERROR, f"Parse error: the body ends after {size} of {length} bytes")
        piece: bytes = event.get("body", b"")
        size += len(piece)
        if size > limit:
            pieces.clear()
        else:
            pieces.append(piece)
        more = event.get("more_body", False)
    if size > limit:
        raise BodyTooLarge
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
