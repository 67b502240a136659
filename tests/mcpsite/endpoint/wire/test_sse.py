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
    assert parse(sse.priming("7", 500)) == [Received(event_id="7", data="", retry=500)]


def test_a_retry_hint_is_no_event() -> None:
    assert parse(sse.retry(1500)) == [Received(retry=1500)]


def test_frames_stand_apart() -> None:
    raw = sse.priming("a.0", 5) + sse.KEEP_ALIVE + sse.message("{}", "a.1") + sse.message("[]") + sse.retry(1)
    assert [(one.event_id, one.data, one.retry) for one in parse(raw)] == [
        ("a.0", "", 5),
        ("a.1", "{}", None),
        (None, "[]", None),
        (None, None, 1),
    ]
