"""A process that stands still between two answers: what it owes is done before, and what grew old is made anew."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pytest_django import Settings

from mcpsite import freezing
from mcpsite.endpoint import loop
from mcpsite.freezing import SettledAnswers, Thaw
from sessions_dynamo.dataplane.loops import plane_of_this_loop
from tests.sessions_dynamo.dataplane.servers import Server, answer, sends, serving
from tests.sessions_dynamo.dataplane.support import GET

SCOPE: Final = {"type": "http"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(sends(answer({"Item": {"id": {"S": "one"}}}))) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running


@pytest.mark.parametrize(("stood_still", "connections"), [(5.0, 1), (50.0, 2), (-3600.0, 2)])
async def test_a_connection_that_was_frozen_for_long_is_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch, stood_still: float, connections: int
) -> None:
    """By the time of day: the machine's own clock may have stood still, too."""
    now = [1000.0]
    monkeypatch.setattr("mcpsite.freezing.time.time", lambda: now[0])
    thaw = Thaw()
    thaw.awake()
    await plane_of_this_loop().request("GetItem", GET)
    await thaw.settle(1)
    now[0] += stood_still
    thaw.awake()
    answered = await plane_of_this_loop().request("GetItem", GET)
    assert answered["ResponseMetadata"]["RetryAttempts"] == 0
    assert server.connections == connections


class _Serving:
    """What belongs to the loop; it has something to write, and takes a moment."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self.was_given_up = asyncio.Event()

    async def settle(self, seconds: float) -> None:
        await asyncio.sleep(0.01)
        self._said.append("settled")

    async def give_up(self, reason: str, seconds: float) -> bool:
        self._said.append(reason)
        self.was_given_up.set()
        return True


@pytest.mark.parametrize("metrics", ["emf", "off"])
async def test_the_end_of_an_answer_waits(monkeypatch: pytest.MonkeyPatch, settings: Settings, metrics: str) -> None:
    settings.METRICS = metrics
    said: list[str] = []
    monkeypatch.setattr(freezing, "begun_loop", lambda: _Serving(said))
    monkeypatch.setattr("mcpsite.freezing.metrics.flush", lambda seconds: said.append("metrics"))

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await send({"type": "http.response.body", "body": b"last"})

    async def send(message: Any) -> None:
        said.append(message.get("body", b"start").decode())

    await SettledAnswers(site, 1)(SCOPE, None, send)  # type: ignore[arg-type]
    assert said == ["start", "first", "settled", *(["metrics"] if metrics == "emf" else []), "last"]


def _scope(context: bytes) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"x-amzn-lambda-context", context)]}


async def test_what_runs_is_ended_before_its_function_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    serving = _Serving(said)
    monkeypatch.setattr(freezing, "begun_loop", lambda: serving)

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await serving.was_given_up.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async def send(message: Any) -> None:
        said.append(message["body"].decode())

    # As the Web Adapter writes it.
    context = json.dumps({"request_id": "r", "deadline": int((time.time() + 1) * 1000)}).encode()
    async with asyncio.timeout(30):
        await SettledAnswers(site, 1)(_scope(context), None, send)  # type: ignore[arg-type]
    reason, *rest = said
    assert reason.startswith("The call was ended after 1 s, which is all that its function had.")
    assert rest == ["settled", "last"]
    assert "the function's time was over: POST '/mcp'" in caplog.text


@pytest.mark.parametrize("context", [b"", b"{}", b"[]", b'{"deadline": "soon"}', b"\xff"])
async def test_a_context_that_says_no_deadline_ends_nothing(monkeypatch: pytest.MonkeyPatch, context: bytes) -> None:
    said: list[str] = []
    monkeypatch.setattr(freezing, "begun_loop", lambda: _Serving(said))

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"last"})

    async def send(message: Any) -> None:
        said.append(message["body"].decode())

    await SettledAnswers(site, 1)(_scope(context), None, send)  # type: ignore[arg-type]
    assert said == ["settled", "last"]


async def test_what_takes_too_long_to_write_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(_Serving):
        async def settle(self, seconds: float) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr(freezing, "begun_loop", lambda: Slow([]))
    sent: list[Any] = []

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"last"})

    async def send(message: Any) -> None:
        sent.append(message)

    context = json.dumps({"deadline": int((time.time() + 1) * 1000)}).encode()
    async with asyncio.timeout(30):
        await SettledAnswers(site, 20)(_scope(context), None, send)  # type: ignore[arg-type]
    assert [message["body"] for message in sent] == [b"last"]


async def test_a_lifespan_is_none_of_its() -> None:
    seen: list[Any] = []

    async def site(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    await SettledAnswers(site, 1)({"type": "lifespan"}, None, test_a_lifespan_is_none_of_its)  # type: ignore[arg-type]
    assert seen == [test_a_lifespan_is_none_of_its]


async def test_a_process_that_serves_nothing_yet_has_nothing_to_settle() -> None:
    assert loop.begun_loop() is None
    await Thaw().settle(1)
