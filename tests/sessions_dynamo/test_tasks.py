"""Work that goes on to its end: a caller that leaves takes nothing of it along; what it raises is for who waits."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from sessions_dynamo.tasks import kept, to_its_end


class Failure(Exception):
    pass


async def fail() -> None:
    raise Failure


async def test_a_caller_has_what_it_returns_and_raises() -> None:
    assert await to_its_end(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(Failure):
        await to_its_end(fail())


async def test_a_caller_that_is_cancelled_leaves_it_running() -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    caller = asyncio.create_task(to_its_end(work()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    # Nobody here refers to it, and the loop does so weakly.
    gc.collect()
    go.set()
    async with asyncio.timeout(10):
        await done.wait()


async def test_a_failure_that_nobody_waits_for_is_no_complaint_of_the_loops(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        task = kept(fail(), name="failing")
        assert task.get_name() == "failing"
        await asyncio.wait([task])
        del task
        gc.collect()
    assert caplog.records == []
