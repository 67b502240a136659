"""Answers and cancellations that come through another process, while processes die: none lost, none twice.

``DYING_ROUNDS`` is how many of each; ``make stopped`` takes 200.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHOWN
from tests.engines import on_dynamodb_local
from tests.live.dying import BROKEN, Deaths, dying
from tests.live.questions import answer_to
from tests.live.stopping import until
from tests.live.stream_client import Client
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

ROUNDS = int(os.environ.get("DYING_ROUNDS", "50"))
"""That come to their end in one process; those whose process dies come on top."""
AT_ONCE = 10
THINKING_SECONDS = 2.0
"""Before an answer, at most: for some processes to die meanwhile."""


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(engine[1], tmp_path_factory.mktemp("dying"), STREAM_LEASE_SECONDS="2") as site:
        yield site


@pytest.fixture
def deaths(site: StreamSite) -> Iterator[Deaths]:
    with dying(site) as deaths:
        yield deaths


class OwnerDied(Exception):
    """The process died that ran the call: its client is told, and asks again."""


def rounds(one: Callable[[int], None]) -> int:
    """Do it until so many came to their end; how many did not, since their process died."""
    died = 0

    def survived(number: int) -> bool:
        try:
            one(number)
        except OwnerDied:
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        missing, number = ROUNDS, 0
        while missing:
            outcomes = list(pool.map(survived, range(number, number + missing)))
            number += missing
            missing = outcomes.count(False)
            died += missing
    return died


def new_client(deaths: Deaths) -> Client:
    return deaths.anywhere_but(None, lambda _: Client(deaths.site))


def test_no_answer_is_lost_and_none_counts_twice(
    site: StreamSite, deaths: Deaths, record_property: Callable[[str, Any], None]
) -> None:
    def ask(number: int) -> None:
        client, owner = new_client(deaths), site.ports[number % 3]
        before = deaths.when_up(owner)
        ends: list[dict[str, Any]] = []
        try:
            with client.start(owner, "ask_user", question="?") as stream:
                questions = stream.messages(1)
                for question in questions:
                    time.sleep(random.uniform(0, THINKING_SECONDS))
                    for text in (f"answer {number}", "another answer"):
                        answer = answer_to(question, text)
                        status = deaths.anywhere_but(owner, lambda port: client.reply(port, question, answer))  # noqa: B023
                        assert status == 202
                    ends = stream.messages()
        except BROKEN:
            # Before there was a stream.
            assert deaths.of[owner] != before
            raise OwnerDied from None
        if deaths.of[owner] == before:
            assert [end["result"]["content"][0]["text"] for end in ends] == [f"answer {number}"]
            return
        if stream.cursor and not ends:
            with deaths.anywhere_but(owner, lambda port: client.get(port, stream.cursor)) as rest:
                ends = [message for message in rest.messages() if "method" not in message]
        assert len(ends) <= 1
        for end in ends:
            assert "error" in end or end["result"]["content"][0]["text"] == f"answer {number}"
        raise OwnerDied

    died = rounds(ask)
    record_property(SHOWN, f"{ROUNDS} answers, each once; {deaths.of.total()} processes died, {died} calls so")


def test_no_cancellation_is_lost_and_none_stops_another_call(
    site: StreamSite, deaths: Deaths, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    def cancel(number: int) -> None:
        client, owner = new_client(deaths), site.ports[number % 3]
        before = deaths.when_up(owner)
        marks = [tmp_path / f"{number}-{name}" for name in ("stopped", "other")]
        try:
            request, other = (
                client.message("tools/call", {"name": "work", "arguments": {"seconds": seconds, "mark": str(mark)}})
                for mark, seconds in zip(marks, (60, 2), strict=True)
            )
            with client.send_to(owner, other) as going_on, client.send_to(owner, request) as stream:
                if not stream.messages(1):
                    raise OwnerDied
                notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request["id"]}}

                def send(port: int) -> int:
                    with client.send_to(port, notice) as accepted:
                        return accepted.status

                assert deaths.anywhere_but(owner, send) == 202
                for mark in marks:
                    until(lambda: mark.exists() or deaths.of[owner] != before, "the call has ended")  # noqa: B023
                answers = [message for message in going_on.messages() if "result" in message]
        except BROKEN:
            assert deaths.of[owner] != before
            raise OwnerDied from None
        if deaths.of[owner] != before:
            raise OwnerDied
        assert [mark.read_text() for mark in marks] == ["cancelled", "finished"]
        assert len(answers) == 1

    died = rounds(cancel)
    record_property(SHOWN, f"{ROUNDS} cancellations; {deaths.of.total()} processes died, {died} calls so")
