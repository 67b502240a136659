"""Frames of an event stream, read back as the HTML standard says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpsite.endpoint.wire import sse
from mcpsite.endpoint.wire.answers import encode
from tests.mcpsite.endpoint.streams.support import Received, parse

TRICKY = [
    "\u2028",
    "\u2029",
    "\n",
    "\r\n",
    "\r",
    "\x00",
    "\x85",
    "\ufeff",
    "data: x\n\nid: 1",
    "é😀",
    "\ud800",
    "\x0b\x0c",
]


@pytest.mark.parametrize("text", TRICKY, ids=ascii)
def test_text_cannot_break_out_of_its_frame(text: str) -> None:
    frame = sse.message(encode({"text": text, text: 1}), "7")
    (received,) = parse(frame)
    assert (received.event_id, received.event, received.message) == ("7", "message", {"text": text, text: 1})
    # Not even for a reader that takes everything for a line break that Python does.
    assert len(frame.decode().strip().splitlines()) == 3


@given(st.recursive(st.none() | st.text() | st.floats(allow_nan=False), lambda some: st.lists(some), max_leaves=5))
def test_any_message_comes_back_equal(message: object) -> None:
    (received,) = parse(sse.message(encode(message)))
    assert received.message == json.loads(json.dumps(message))
    assert received.event_id is None


def test_a_priming_event_has_an_id_and_no_data() -> None:
    assert parse(sse.priming("7")) == [Received(event_id="7", data="")]


def test_a_farewell_is_a_retry_hint_and_no_event() -> None:
    assert parse(sse.farewell("2025-11-25", 1500)) == [Received(retry=1500)]


@pytest.mark.parametrize(("version", "retry_ms"), [("2025-11-25", 0), ("2025-06-18", 1500), (None, 1500)])
def test_who_wants_no_hint_or_knows_none_gets_none(version: str | None, retry_ms: int) -> None:
    assert sse.farewell(version, retry_ms) == b""


def test_frames_stand_apart() -> None:
    raw = sse.priming("a.0") + sse.KEEP_ALIVE + sse.message("{}", "a.1") + sse.message("[]")
    assert [(one.event_id, one.data, one.retry) for one in parse(raw + sse.farewell("2025-11-25", 1))] == [
        ("a.0", "", None),
        ("a.1", "{}", None),
        (None, "[]", None),
        (None, None, 1),
    ]


def test_a_comment_ends_no_event_wherever_it_stands() -> None:
    """httpx-sse takes each blank line for an event once one had an id, and Python 1.22 that for a broken message."""
    frames = [sse.priming("a.0"), sse.message("{}", "a.1"), sse.message("[]", "a.2")]
    raw = sse.KEEP_ALIVE.join([b"", *frames, sse.KEEP_ALIVE])
    assert raw.count(b"\n\n") == len(frames)
    assert [one.data for one in parse(raw) if one.data is not None] == ["", "{}", "[]"]
