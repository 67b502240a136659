"""Clients whose answers are under way: room among them, and the end of the process."""

from __future__ import annotations

import asyncio
import time

import pytest

from mcpsite.endpoint.streams.clients import Clients
from mcpsite.endpoint.streams.outbox import Begin, Outbox

FAREWELL = b"retry: 700\n\n"


@pytest.fixture
def clients() -> Clients:
    return Clients(3)


def made(clients: Clients, *, may_return: bool = True) -> Outbox:
    """A response of a client, as the endpoint makes it."""
    outbox = Outbox(lambda: clients.discard(outbox), FAREWELL)
    clients.add(outbox, may_return=may_return)
    return outbox


async def rest(outbox: Outbox) -> list[bytes]:
    return [frame async for frame in outbox.frames(60, b"")][1:]


# --- Room -----------------------------------------------------------------------------------------------------


async def test_the_stream_that_was_quiet_longest_makes_room(clients: Clients) -> None:
    first, second, third = (made(clients) for _ in range(3))
    time.sleep(0.002)
    first.put(b"news")
    assert not any(one.closed for one in (first, second, third))
    fourth = made(clients)
    assert [one.closed for one in (first, second, third, fourth)] == [False, True, False, False]
    assert await rest(second) == [FAREWELL]
    assert len(clients) == 3


async def test_as_many_make_room_as_come(clients: Clients) -> None:
    older = [made(clients) for _ in range(3)]
    newer = [made(clients) for _ in range(3)]
    assert [one.closed for one in older] == [True] * 3
    assert [one.closed for one in newer] == [False] * 3


async def test_who_cannot_come_back_is_never_sent_away(clients: Clients) -> None:
    kept = [made(clients, may_return=False) for _ in range(3)]
    for _ in range(2):
        newest = made(clients)
        # It is let in all the same: to refuse it would be worse.
        assert not newest.closed
    assert not any(one.closed for one in kept)


async def test_an_answer_that_may_yet_be_json_takes_no_streams_place(clients: Clients) -> None:
    streams = [made(clients) for _ in range(3)]
    for _ in range(5):
        clients.expect(Outbox(), may_return=True)
    assert not any(one.closed for one in streams)


async def test_responses_that_come_and_go_leave_nothing(clients: Clients) -> None:
    async def come_and_go() -> None:
        for _ in range(50):
            outbox = made(clients)
            await asyncio.sleep(0)
            outbox.close()
            await rest(outbox)

    await asyncio.gather(*(come_and_go() for _ in range(8)))
    assert len(clients) == 0
    # Its count of streams is right still: nobody is sent away.
    assert not any(outbox.closed for outbox in [made(clients) for _ in range(3)])


async def test_an_answer_that_ended_twice_counts_once(clients: Clients) -> None:
    for _ in range(3):
        outbox = made(clients)
        outbox.gone()
        outbox.gone()
    assert not any(outbox.closed for outbox in [made(clients) for _ in range(3)])


# --- The end of the process -----------------------------------------------------------------------------------


async def test_a_process_that_stops_sends_away_who_may_come_back(clients: Clients) -> None:
    may, may_not = made(clients), made(clients, may_return=False)
    clients.close_all()
    assert await rest(may) == [FAREWELL]
    assert not may_not.closed


async def test_an_answer_that_is_waited_for_becomes_a_stream_first(clients: Clients) -> None:
    outbox = Outbox(farewell=FAREWELL)
    clients.expect(outbox, may_return=True)
    clients.close_all()
    assert await outbox.first(60) == Begin()
    assert not outbox.closed
    clients.add(outbox, may_return=True)
    assert await rest(outbox) == [FAREWELL]


async def test_an_answer_of_who_cannot_come_back_is_waited_for(clients: Clients) -> None:
    outbox = Outbox()
    clients.expect(outbox, may_return=False)
    clients.close_all()
    clients.add(outbox, may_return=False)
    assert not outbox.closed
