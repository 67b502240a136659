"""Reading a body: by its length, by its chunks where the server can tell their end, and never more than the cap."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from mcp_types import PARSE_ERROR
from pytest_django import Settings

from mcpsite.endpoint.wire.body import BodyTooLarge, LengthRequired, read_body
from mcpsite.endpoint.wire.messages import InvalidMessage

LIMIT = 100


@pytest.fixture(autouse=True)
def _small_limit(settings: Settings) -> None:
    settings.MCP_MAX_BODY_BYTES = LIMIT


class Untouchable(io.BytesIO):
    """A stream that nobody may read."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")


def _request(body: bytes | io.BytesIO, **meta: Any) -> HttpRequest:
    request = RequestFactory().generic("POST", "/mcp")
    request.META["wsgi.input"] = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    request.META.pop("CONTENT_LENGTH", None)
    request.META |= meta
    return request


def test_a_body_is_read_by_its_length() -> None:
    assert read_body(_request(b"{}next request", CONTENT_LENGTH="2")) == b"{}"


def test_a_body_that_a_middleware_has_read_is_taken_from_it() -> None:
    request, long = (RequestFactory().generic("POST", "/mcp", data) for data in (b"{}", b"x" * (LIMIT + 1)))
    assert (len(request.body), len(long.body)) == (2, LIMIT + 1)
    assert read_body(request) == b"{}"
    with pytest.raises(BodyTooLarge):
        read_body(long)


@pytest.mark.parametrize("length", ["", "0", None])
def test_no_length_is_no_body(length: str | None) -> None:
    meta = {} if length is None else {"CONTENT_LENGTH": length}
    assert read_body(_request(b"next request", **meta)) == b""


def test_the_cap_is_the_last_length_that_is_read() -> None:
    assert read_body(_request(b"x" * LIMIT, CONTENT_LENGTH=str(LIMIT))) == b"x" * LIMIT
    with pytest.raises(BodyTooLarge):
        read_body(_request(b"x" * (LIMIT + 1), CONTENT_LENGTH=str(LIMIT + 1)))


@pytest.mark.parametrize(
    "length", ["-1", "x", "1_0", "+5", "1.0", "0x10", "\N{ARABIC-INDIC DIGIT THREE}", " ", "9" * 99]
)
def test_a_length_that_is_no_number_is_refused_unread(length: str) -> None:
    with pytest.raises(LengthRequired):
        read_body(_request(Untouchable(), CONTENT_LENGTH=length))


def test_chunks_are_read_where_the_server_ends_them() -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert read_body(_request(b"{}", **chunked)) == b"{}"
    assert read_body(_request(b"x" * LIMIT, **chunked)) == b"x" * LIMIT
    with pytest.raises(BodyTooLarge):
        read_body(_request(b"x" * (LIMIT + 1), **chunked))


def test_chunks_are_refused_where_nobody_knows_their_end() -> None:
    with pytest.raises(LengthRequired):
        read_body(_request(Untouchable(), HTTP_TRANSFER_ENCODING="chunked"))


class Endless(io.BytesIO):
    """A body without end; it remembers the bytes that were asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size >= 0
        self.asked.append(size)
        return b"x" * size


@pytest.mark.parametrize(
    "meta",
    [
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        {"CONTENT_LENGTH": "1" + "0" * 17},
    ],
    ids=["chunked", "by length"],
)
def test_of_an_endless_body_a_bounded_part_is_taken_in_pieces(meta: dict[str, Any], settings: Settings) -> None:
    settings.MCP_MAX_BODY_BYTES = limit = 200_000
    stream = Endless()
    with pytest.raises(BodyTooLarge):
        read_body(_request(stream, **meta))
    assert limit < sum(stream.asked) <= 2 * limit + 1
    assert max(stream.asked) <= limit + 1


def test_a_body_that_is_too_large_is_taken_whole_where_that_is_little() -> None:
    # Or the client meets a closed connection while it is still sending, and never reads the answer.
    stream = io.BytesIO(b"x" * (LIMIT + 20) + b"next request")
    with pytest.raises(BodyTooLarge):
        read_body(_request(stream, CONTENT_LENGTH=str(LIMIT + 20)))
    assert stream.read() == b"next request"


@pytest.mark.parametrize("error", [OSError("client left"), ValueError("bad chunk"), EOFError()])
def test_a_body_that_cannot_be_read_is_a_parse_error(error: Exception) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    for meta in ({"CONTENT_LENGTH": "2"}, {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}):
        with pytest.raises(InvalidMessage, match="could not be read") as caught:
            read_body(_request(Broken(), **meta))
        assert caught.value.code == PARSE_ERROR


def test_a_body_that_breaks_off_is_a_parse_error() -> None:
    with pytest.raises(InvalidMessage, match="ends after 2 of 9 bytes"):
        read_body(_request(b"{}", CONTENT_LENGTH="9"))
