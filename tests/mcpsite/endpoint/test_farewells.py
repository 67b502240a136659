"""What the frames of a stream are on the wire: no hint to come back before its end, and no blank line of a comment."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.mcpsite.peers import JSON_HEADERS, LEGACY, InProcess, LegacyPeer

STREAMS = "tests.live.servers_for_streams:mcp"
OLDER = "2025-06-18"
HINT = b"retry: 700\n\n"


@pytest.fixture(autouse=True)
def _emitting_tools(settings: Settings) -> None:
    settings.MCP_SERVER = STREAMS
    settings.STREAM_RETRY_MS = 700


def called(peer: LegacyPeer, tool: str, **arguments: object) -> bytes:
    """The whole stream of a call."""
    return peer.request("tools/call", {"name": tool, "arguments": arguments}).content


def of(peer: LegacyPeer, version: str) -> LegacyPeer:
    """The same client, of another revision."""
    again = LegacyPeer(InProcess())
    answer = again.request(
        "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "p", "version": "1"}}
    )
    again.headers |= {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], "MCP-Protocol-Version": version}
    return again


def standalone(peer: LegacyPeer, settings: Settings, cursor: str | None = None) -> bytes:
    """A GET that closes as soon as it has sent what there is."""
    settings.STREAM_SECONDS = 0
    headers = {**JSON_HEADERS, **peer.headers} | ({"Last-Event-ID": cursor} if cursor else {})
    return peer.send("GET", b"", headers).content


def test_a_stream_that_ends_with_its_response_has_no_hint(legacy: LegacyPeer) -> None:
    content = called(legacy, "count_to", last=3, pause=0)
    assert content.startswith(b"id: ")
    assert b"retry:" not in content


@pytest.mark.parametrize(("version", "hint"), [(LEGACY, HINT), (OLDER, b"")])
def test_a_hint_goes_before_a_connection_is_closed_without_the_response(
    legacy: LegacyPeer, settings: Settings, version: str, hint: bytes
) -> None:
    content = standalone(of(legacy, version), settings)
    assert content.count(b"retry:") == bool(hint)
    assert content.endswith(hint)
    assert not content.startswith(b"retry:")


def test_a_tool_that_sends_its_client_away_sends_it_the_hint(legacy: LegacyPeer) -> None:
    content = called(legacy, "send_away", last=2, pause=0)
    assert content.endswith(HINT)
    assert content.count(b"retry:") == 1


def test_a_client_that_resumes_and_is_sent_away_again_has_its_cursor_first_and_the_hint_last(
    legacy: LegacyPeer, settings: Settings
) -> None:
    cursor = called(legacy, "send_away", last=50, pause=0.02).partition(b"\n")[0].removeprefix(b"id: ").decode()
    content = standalone(legacy, settings, cursor)
    assert content.startswith(f"id: {cursor}\ndata: \n\n".encode())
    assert content.endswith(HINT)


def test_zero_sends_no_hint_anywhere(legacy: LegacyPeer, settings: Settings) -> None:
    settings.STREAM_RETRY_MS = 0
    away = called(legacy, "send_away", last=2, pause=0)
    assert away.startswith(b"id: ")
    assert b"retry:" not in away + standalone(legacy, settings)


def test_a_comment_stands_alone_between_whole_events(legacy: LegacyPeer, settings: Settings) -> None:
    settings.STREAM_KEEPALIVE_SECONDS = 0.05
    content = called(legacy, "count_to", last=3, pause=0.2)
    assert content.count(b": keep-alive\n") >= 3
    assert b": keep-alive\n\n" not in content
    for before in content.split(b": keep-alive\n")[:-1]:
        # Nothing that a reader could take the comment for a part of.
        assert before == b"" or before.endswith(b"\n\n")
