"""A storm of resumes: a client whose connection drops at random while a tool counts, and comes back anywhere."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from tests.live.stream_client import Client, Stream
from tests.live.stream_sites import StreamSite

EVENTS = 50
DROPS = 5


def logged(messages: list[dict[str, Any]]) -> list[Any]:
    """What a tool logged."""
    return [message["params"]["data"] for message in messages if "method" in message]


def text(answer: dict[str, Any]) -> str:
    """What a tool returned."""
    result: str = answer["result"]["content"][0]["text"]
    return result


def begin(stream: Stream) -> str:
    """The cursor before all messages, of the priming event."""
    cursor = next(stream.read()).event_id
    assert cursor is not None
    # Java's client up to 2.0.1 fails on a stream that says so before it closes.
    assert stream.retry is None
    return cursor


def patiently(ask: Callable[[], Stream]) -> Stream:
    """Ask again where DynamoDB Local, on a busy machine, was too slow for a worker: 503, and nothing has run."""
    for _ in range(20):
        stream = ask()
        if stream.status != 503:
            break
        stream.close()
        time.sleep(1)
    assert stream.status == 200
    return stream


def weather_the_storm(site: StreamSite, client: Client) -> list[dict[str, Any]]:
    """All that one client gets of a counting call while its connection drops at random events."""
    stream = patiently(lambda: client.start(site.any(), "count_to", last=EVENTS, pause=0.02))
    cursor = begin(stream)
    received: list[dict[str, Any]] = []
    for drops_left in range(DROPS, -1, -1):
        with stream:
            left = EVENTS - len(received)
            received += stream.messages(random.randint(0, left // drops_left) if drops_left else None)
            cursor = stream.cursor or cursor
        if drops_left:
            assert all("method" in message for message in received), f"ended before its time: {received[-1]}"
            stream = patiently(lambda: client.get(site.any(), cursor))  # noqa: B023 (called at once)
    while "method" in received[-1]:
        # Sent away: a crowd's connections can outnumber the threads that a worker keeps for streams.
        with patiently(lambda: client.get(site.any(), cursor)) as stream:  # noqa: B023
            received += stream.messages()
            cursor = stream.cursor or cursor
    return received


def assert_nothing_was_lost(received: list[dict[str, Any]]) -> None:
    """All of it, once, in order, and one end."""
    assert logged(received) == [*range(1, EVENTS + 1)]
    assert [message for message in received if "method" not in message] == [received[-1]]
    assert text(received[-1]) == f"counted to {EVENTS}"
