"""Blocking code in threads: what it sets is set here, and it takes no thread from the SDK's sync handlers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import to_thread

from mcpsite.blocking.threads import MAX_THREADS, in_thread
from tests.mcpsite.endpoint.streams.support import until

variable: ContextVar[str] = ContextVar("variable", default="unset")
other: ContextVar[str] = ContextVar("other")


class Held:
    """Calls that block until they are let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __call__(self) -> None:
        with self._lock:
            self.begun += 1
            self._now += 1
            self.most = max(self.most, self._now)
        self._over.wait(20)
        with self._lock:
            self._now -= 1

    def let_go(self) -> None:
        self._over.set()


@asynccontextmanager
async def blocked(call: Callable[[Held], Any], count: int) -> AsyncIterator[Held]:
    """So many calls under way, each of them in a task, which block."""
    held = Held()
    tasks = [asyncio.create_task(call(held)) for _ in range(count)]
    try:
        yield held
    finally:
        held.let_go()
        await asyncio.gather(*tasks)


# --- What reaches the caller ----------------------------------------------------------------------------------


async def test_it_has_the_callers_context_and_arguments() -> None:
    variable.set("the caller's")

    def look(*args: int, **kwargs: int) -> tuple[str, tuple[int, ...], dict[str, int], bool]:
        return variable.get(), args, kwargs, threading.current_thread() is threading.main_thread()

    assert await in_thread(look, 1, 2, three=3) == ("the caller's", (1, 2), {"three": 3}, False)


async def test_context_variables_that_it_sets_are_set_here() -> None:
    def assign() -> None:
        variable.set("by the thread")
        other.set("new")

    await in_thread(assign)
    assert (variable.get(), other.get()) == ("by the thread", "new")


async def test_they_are_set_in_the_callers_task_alone() -> None:
    variable.set("before")

    async def call(name: str) -> str:
        await in_thread(variable.set, name)
        await asyncio.sleep(0.01)
        return variable.get()

    assert await asyncio.gather(*(call(name) for name in "abc")) == ["a", "b", "c"]
    assert variable.get() == "before"


async def test_what_it_raises_is_raised_here_and_what_it_had_set_is_set() -> None:
    def fail() -> None:
        variable.set("before it failed")
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        await in_thread(fail)
    assert variable.get() == "before it failed"


async def test_it_has_no_event_loop() -> None:
    """Django's ORM asks for one, and code of a project's own may run one."""

    def look() -> int:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return anyio.run(answer)

    async def answer() -> int:
        return 42

    assert await in_thread(look) == 42


# --- How many -------------------------------------------------------------------------------------------------


async def test_blocked_threads_of_ours_leave_the_sdks_handlers_theirs() -> None:
    async with blocked(in_thread, MAX_THREADS) as held:
        await until(lambda: held.begun == MAX_THREADS)
        async with asyncio.timeout(10):
            assert await to_thread.run_sync(lambda: "served") == "served"


async def test_blocked_handlers_of_the_sdk_leave_ours_theirs() -> None:
    limiter = to_thread.current_default_thread_limiter()
    async with blocked(to_thread.run_sync, int(limiter.total_tokens)) as held:
        await until(lambda: held.begun == limiter.total_tokens)
        async with asyncio.timeout(10):
            assert await in_thread(lambda: "served") == "served"


async def test_names_are_resolved_though_every_thread_of_ours_and_of_the_sdks_is_blocked() -> None:
    """The loop's own executor does that, and has few threads: no tool and nothing of ours may be in it."""
    limiter = to_thread.current_default_thread_limiter()
    async with blocked(in_thread, MAX_THREADS) as ours, blocked(to_thread.run_sync, int(limiter.total_tokens)) as sdks:
        await until(lambda: (ours.begun, sdks.begun) == (MAX_THREADS, limiter.total_tokens))
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def test_more_than_there_may_be_wait_and_are_all_served() -> None:
    async with blocked(in_thread, MAX_THREADS + 10) as held:
        await until(lambda: held.begun == MAX_THREADS)
        await asyncio.sleep(0.05)
        assert held.begun == MAX_THREADS
    assert (held.begun, held.most) == (MAX_THREADS + 10, MAX_THREADS)


async def test_clients_that_leave_do_not_add_to_the_threads_that_block() -> None:
    """A thread cannot be ended: its place is free when it has come to its end, not when its caller was cancelled."""
    held = Held()
    try:
        for _ in range(2):
            tasks = [asyncio.create_task(in_thread(held)) for _ in range(MAX_THREADS)]
            await until(lambda: held.begun == MAX_THREADS)
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            async with asyncio.timeout(5):
                assert all(
                    isinstance(one, asyncio.CancelledError)
                    for one in await asyncio.gather(*tasks, return_exceptions=True)
                )
        waiting = asyncio.create_task(in_thread(lambda: "served"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    finally:
        held.let_go()
    assert await waiting == "served"
    assert held.most == MAX_THREADS
    # Those whose callers left before they had a thread were never begun.
    assert held.begun == MAX_THREADS


async def test_what_fails_after_its_caller_left_is_nobodys_concern(caplog: pytest.LogCaptureFixture) -> None:
    begun, over = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        over.wait(20)
        raise RuntimeError("too late")

    task = asyncio.create_task(in_thread(fail))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    over.set()
    assert await in_thread(lambda: "served") == "served"
    await asyncio.sleep(0.05)
    assert caplog.text == ""
