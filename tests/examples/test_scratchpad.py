"""An agent's scratchpad over two processes: its user is asked by one, and answers to the other."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.examples.callers import EVERY_KIND, CallFailed, Kind, connected, every_kind_connected
from tests.live.stream_sites import StreamSite

EXAMPLE = "scratchpad"
SETTINGS: dict[str, str] = {}


ENTRIES = {"finding": "it is a race", "step 1": "x" * 5000}


def test_what_is_on_the_pad_outlives_its_process(site: StreamSite) -> None:
    first, second = site.ports

    async def use() -> None:
        async with every_kind_connected(site.url) as agents:
            site.balancer.remove(second)
            for agent in agents:
                for name, text in ENTRIES.items():
                    await agent.call("write", name=name, text=text)
            await anyio.to_thread.run_sync(site.kill, first)
            site.balancer.add(second)
            for agent in agents:
                assert (await agent.call("read"))["entries"] == ENTRIES
            await anyio.to_thread.run_sync(site.start, first)

    anyio.run(use)


@pytest.mark.parametrize("kind", EVERY_KIND, ids="-".join)
def test_the_user_is_asked_by_one_process_and_answers_to_another(site: StreamSite, kind: Kind) -> None:
    asking, answering = site.ports
    asked: list[str] = []
    answers: list[dict[str, Any] | None] = [None, {"clear": False}, {"clear": True}]

    def answer(question: str) -> dict[str, Any] | None:
        # Whatever the client says from now on, the other process hears.
        site.balancer.add(answering)
        site.balancer.remove(asking)
        asked.append(question)
        return answers.pop(0)

    async def use() -> None:
        async with connected(kind, site.url, answer=answer) as agent:
            for name, text in ENTRIES.items():
                await agent.call("write", name=name, text=text)
            outcomes = []
            for _ in range(3):
                assert (await agent.call("read"))["entries"] == ENTRIES
                site.balancer.add(asking)
                site.balancer.remove(answering)
                outcomes.append(await agent.call("clear"))
            site.balancer.add(asking)

            assert outcomes == [
                {"cleared": 0, "answer": "decline"},
                {"cleared": 0, "answer": "accept"},
                {"cleared": 2, "answer": "accept"},
            ]
            assert asked == ["The agent wants to clear its scratchpad of 2: finding, step 1."] * 3
            assert (await agent.call("read"))["entries"] == {}
            # There is nothing to lose, and nobody is asked.
            assert await agent.call("clear") == {"cleared": 0, "answer": "accept"}
            assert len(asked) == 3

    anyio.run(use)


def test_without_a_user_to_ask_nothing_is_cleared(site: StreamSite) -> None:
    async def use() -> None:
        async with every_kind_connected(site.url) as agents:
            for agent in agents:
                await agent.call("write", name="finding", text="kept")
                with pytest.raises(CallFailed):
                    await agent.call("clear")
                assert (await agent.call("read"))["entries"] == {"finding": "kept"}

    anyio.run(use)
