"""Reading a body: as it comes, never more than the cap, and what another handler has read already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory
from mcp_types import PARSE_ERROR
from pytest_django import Settings

from mcpsite.door.request import DoorRequest
from mcpsite.endpoint.wire.body import BodyTooLarge, LengthRequired, read_body
from mcpsite.endpoint.wire.messages import InvalidMessage

LIMIT = 100


@pytest.fixture(autouse=True)
def _small_limit(settings: Settings) -> None:
    settings.MCP_MAX_BODY_BYTES = LIMIT


class Line:
    """What a server hands over of a body, and how much of it was asked for."""

    def __init__(self, pieces: Iterator[bytes], *, breaks_off: bool = False) -> None:
        self.taken = 0
        self.asked = 0
        self._pieces = pieces
        self._next = next(pieces, None)
        self._breaks_off = breaks_off

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        piece, self._next = self._next, next(self._pieces, None)
        if piece is None and self._breaks_off:
            return {"type": "http.disconnect"}
        self.taken += len(piece or b"")
        return {"type": "http.request", "body": piece or b"", "more_body": self._next is not None or self._breaks_off}


def _request(line: Line, length: str | None = None) -> DoorRequest:
    headers = [] if length is None else [(b"content-length", length.encode("latin1", "replace"))]
    return DoorRequest(
        {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers}, line
    )


def _line(*pieces: bytes, breaks_off: bool = False) -> Line:
    return Line(iter(pieces), breaks_off=breaks_off)


async def test_a_body_is_read_to_its_end() -> None:
    assert await read_body(_request(_line(b"{", b"}"), "2")) == b"{}"
    assert await read_body(_request(_line(b"{", b"", b"}"))) == b"{}"


async def test_a_body_that_a_middleware_has_read_is_taken_from_it() -> None:
    request, long = (RequestFactory().generic("POST", "/mcp", data) for data in (b"{}", b"x" * (LIMIT + 1)))
    assert (len(request.body), len(long.body)) == (2, LIMIT + 1)
    assert await read_body(request) == b"{}"
    with pytest.raises(BodyTooLarge):
        await read_body(long)


async def test_a_body_that_another_handler_keeps_is_read_there() -> None:
    request, long = (RequestFactory().generic("POST", "/mcp", data) for data in (b"{}", b"x" * (LIMIT + 1)))
    assert await read_body(request) == b"{}"
    with pytest.raises(BodyTooLarge):
        await read_body(long)


@pytest.mark.parametrize("length", ["", "0", None])
async def test_no_body_is_an_empty_one(length: str | None) -> None:
    assert await read_body(_request(_line(), length)) == b""


async def test_the_cap_is_the_last_length_that_is_read() -> None:
    assert await read_body(_request(_line(b"x" * LIMIT), str(LIMIT))) == b"x" * LIMIT
    with pytest.raises(BodyTooLarge):
        await read_body(_request(_line(b"x" * (LIMIT + 1)), str(LIMIT + 1)))
    with pytest.raises(BodyTooLarge):
        await read_body(_request(_line(b"x" * LIMIT, b"x")))


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "+5", "1.0", "0x10", "\xb3", " ", "9" * 99])
async def test_a_length_that_is_no_number_is_refused_unread(length: str) -> None:
    line = _line(b"{}")
    with pytest.raises(LengthRequired):
        await read_body(_request(line, length))
    assert line.asked == 0


@pytest.mark.parametrize("length", [None, "1" + "0" * 17], ids=["chunked", "by length"])
async def test_of_an_endless_body_a_bounded_part_is_taken(length: str | None, settings: Settings) -> None:
    settings.MCP_MAX_BODY_BYTES = limit = 200_000

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    line = Line(endless())
    with pytest.raises(BodyTooLarge):
        await read_body(_request(line, length))
    assert limit < line.taken <= 2 * limit + 1000


async def test_a_body_that_is_too_large_is_taken_whole_where_that_is_little() -> None:
    # Or the client meets a closed connection while it is still sending, and never reads the answer.
    line = _line(b"x" * LIMIT, b"x" * 10, b"x" * 10)
    with pytest.raises(BodyTooLarge):
        await read_body(_request(line, str(LIMIT + 20)))
    assert line.taken == LIMIT + 20


async def test_a_body_that_breaks_off_is_a_parse_error() -> None:
    with pytest.raises(InvalidMessage, match="ends after 2 of 9 bytes") as caught:
        await read_body(_request(_line(b"{}", breaks_off=True), "9"))
    assert caught.value.code == PARSE_ERROR


async def test_garbage_in_the_head_is_for_the_view_to_answer() -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"\xff\xfe",
        "headers": [(b"content-type", b"text/plain; charset=\xff")],
    }
    request = DoorRequest(scope, _line(b"{}"))
    assert request.content_type in ("", "text/plain")
    assert request.META["QUERY_STRING"] == ""
