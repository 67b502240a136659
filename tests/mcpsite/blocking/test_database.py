"""Database connections that handlers open in threads: each is given back in its own thread when the call is served."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from anyio import to_thread
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection
from pytest_django import Settings

from mcpsite.blocking import database
from mcpsite.blocking.threads import in_thread
from tests.mcpsite.endpoint.streams.support import until
from tests.mcpsite.peers import LegacyPeer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def closed_on(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which connections were closed; the tests' own database is in memory and stays open."""
    threads: list[int] = []

    def close() -> None:
        threads.append(threading.get_ident())
        connection.connection = None

    monkeypatch.setattr(database, "close_old_connections", close)
    return threads


def test_what_a_sync_tool_opened_is_closed_on_its_own_thread(
    legacy: LegacyPeer, settings: Settings, closed_on: list[int]
) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    for _ in range(2):
        closed_on.clear()
        thread = legacy.call("count_users").data["thread"]
        assert thread in closed_on


def test_what_an_async_tool_opened_is_closed_too(legacy: LegacyPeer, settings: Settings, closed_on: list[int]) -> None:
    settings.MCP_SERVER = "tests.mcpsite.servers:tools"
    legacy.call("count_users_async")
    deadline = time.monotonic() + 10
    while not closed_on and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed_on


async def test_no_answer_waits_for_another_async_handlers_query(closed_on: list[int]) -> None:
    """What Django runs for async code it runs in one thread of the process."""
    asked, over = threading.Event(), threading.Event()

    def ask() -> None:
        get_user_model().objects.count()
        asked.set()
        over.wait(20)

    database._is_watched.set(True)
    slow = asyncio.create_task(sync_to_async(ask)())
    try:
        await until(asked.is_set)
        async with asyncio.timeout(5):
            for _ in range(3):
                await database.give_back()
        assert closed_on == []
    finally:
        over.set()
        await slow
    await until(lambda: closed_on)
    assert len(closed_on) == 1


async def test_as_many_as_ran_at_once_are_closed(closed_on: list[int]) -> None:
    met = threading.Barrier(5)

    def ask() -> int:
        met.wait(10)
        get_user_model().objects.count()
        return threading.get_ident()

    async with database.given_back():
        used = await asyncio.gather(*(to_thread.run_sync(ask) for _ in range(5)))
    assert set(used) <= set(closed_on)
    closed_on.clear()
    await database.give_back()
    assert closed_on == []


async def test_a_thread_of_ours_closes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr("mcpsite.blocking.threads.close_old_connections", lambda: closed.append(threading.get_ident()))
    thread = await in_thread(threading.get_ident)
    assert closed == [thread]


async def test_connections_are_given_back_though_every_handlers_thread_is_busy(closed_on: list[int]) -> None:
    """A tool that asked the database and now blocks holds up no answer beside it."""
    limiter = to_thread.current_default_thread_limiter()
    limiter.total_tokens = 2
    asked, over = threading.Barrier(3), threading.Event()

    def ask() -> None:
        get_user_model().objects.count()
        asked.wait(10)
        over.wait(20)

    async def begin() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(to_thread.run_sync(ask)) for _ in range(2)]

    try:
        async with asyncio.timeout(10), database.given_back():
            blocked = await begin()
            await asyncio.to_thread(asked.wait, 10)
    finally:
        over.set()
        await asyncio.gather(*blocked)


async def test_a_call_that_is_cancelled_gives_its_connection_back(closed_on: list[int]) -> None:
    """The thread would end with it some time, and a pool would never have it again."""
    used: list[int] = []

    def ask() -> None:
        get_user_model().objects.count()
        used.append(threading.get_ident())

    async def call() -> None:
        async with database.given_back():
            await to_thread.run_sync(ask)
            await asyncio.Event().wait()

    calling = asyncio.create_task(call())
    async with asyncio.timeout(10):
        while not used:
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert set(used) <= set(closed_on)
