"""The short door: which requests it takes, how a response leaves, and what becomes of a client that leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from django.core.signals import got_request_exception, request_started
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import path, reverse

from mcpsite.door import short_door as module
from mcpsite.door.event_stream import EventStream
from mcpsite.door.short_door import ShortDoor, short_door
from tests.mcpsite.site import Connection

seen: list[Any] = []


@short_door
async def plain(request: HttpRequest, name: str = "") -> HttpResponse:
    seen.append((request.method, name, request.GET.get("q"), reverse("plain")))
    response = HttpResponse(f"hello {name}", status=201)
    response["X-Name"] = "a"
    response.set_cookie("colour", "blue")
    return response


@short_door
async def failing(request: HttpRequest) -> HttpResponse:
    raise LookupError("a secret")


@short_door
async def waiting(request: HttpRequest) -> HttpResponse:
    seen.append("waits")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    return HttpResponse()


@short_door
async def streaming(request: HttpRequest) -> HttpResponseBase:
    async def frames() -> AsyncGenerator[bytes]:
        task = asyncio.current_task()
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            # In the task that reads it, or a cancel scope in it would break.
            seen.append(asyncio.current_task() is task)

    return EventStream(frames(), lambda: seen.append("gone"))


async def ordinary(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("plain", plain, name="plain"),
    path("plain/<str:name>", plain),
    path("failing", failing),
    path("waiting", waiting),
    path("streaming", streaming),
    path("ordinary", ordinary),
]


@pytest.fixture(autouse=True)
def _urls() -> Iterator[None]:
    seen.clear()
    with override_settings(ROOT_URLCONF=__name__):
        yield


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    seen.append(("elsewhere", scope["type"], scope.get("path")))


def connection(method: str, path: str, **scope: Any) -> Connection:
    return Connection(method, path, app=ShortDoor(elsewhere), **scope)


async def test_a_view_that_asks_for_it_has_its_response_sent() -> None:
    client = connection("POST", "/plain/ann?q=1", body=b"unread")
    await client.run()
    assert seen == [("POST", "ann", "1", "/plain")]
    assert (client.status, b"".join(client.pieces)) == (201, b"hello ann")
    assert client.headers["X-Name"] == "a"
    assert client.headers["Content-Length"] == "9"
    assert client.headers["Set-Cookie"].startswith("colour=blue")


@pytest.mark.parametrize("path", ["/ordinary", "/unknown", "/plain/a/b"])
async def test_all_else_goes_to_django(path: str) -> None:
    await connection("GET", path).run()
    assert seen == [("elsewhere", "http", path)]


async def test_what_is_no_request_goes_to_django() -> None:
    await ShortDoor(elsewhere)({"type": "websocket", "path": "/plain"}, None, None)  # type: ignore[arg-type]
    assert seen == [("elsewhere", "websocket", "/plain")]


@pytest.mark.parametrize("query", [b"\xff\xfe", b"q=%ff", b"&&=;"])
async def test_garbage_in_a_query_is_for_the_view_to_answer(query: bytes) -> None:
    client = connection("GET", "/plain", query_string=query)
    await client.run()
    assert client.status == 201


async def test_a_prefix_is_each_requests_own() -> None:
    # Reversed one after the other, in one task: a prefix of the one before would stay.
    await connection("GET", "/behind/plain", root_path="/behind").run()
    await connection("GET", "/plain").run()
    assert [entry[3] for entry in seen] == ["/behind/plain", "/plain"]


async def test_no_signal_of_a_request_is_sent() -> None:
    def started(**_: Any) -> None:
        seen.append("signal")

    request_started.connect(started)
    try:
        await connection("GET", "/plain").run()
    finally:
        request_started.disconnect(started)
    assert "signal" not in seen


async def test_an_exception_reaches_djangos_log_and_signal(caplog: pytest.LogCaptureFixture) -> None:
    def failed(request: HttpRequest, **_: Any) -> None:
        seen.append(request.path)

    got_request_exception.connect(failed)
    client = connection("GET", "/failing")
    try:
        with caplog.at_level(logging.ERROR, "django.request"):
            logging.getLogger("django").propagate = True
            await client.run()
    finally:
        logging.getLogger("django").propagate = False
        got_request_exception.disconnect(failed)
    assert client.status == 500
    assert seen == ["/failing"]
    assert "a secret" in caplog.text


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_client_that_leaves_has_its_request_cancelled() -> None:
    client = connection("GET", "/waiting")
    serving = asyncio.create_task(client.run())
    await until(lambda: "waits" in seen)
    client.leave()
    # Not raised: the server's task has ended as it should.
    await serving
    assert seen == ["waits", "cancelled"]
    assert client.status == 0


async def test_a_request_that_the_server_cancels_is_cancelled() -> None:
    serving = asyncio.create_task(connection("GET", "/waiting").run())
    await until(lambda: "waits" in seen)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_a_stream_is_closed_by_its_own_task_when_its_client_leaves() -> None:
    client = connection("GET", "/streaming")
    serving = asyncio.create_task(client.run())
    await until(lambda: client.pieces)
    client.leave()
    await serving
    assert client.pieces == [b"first"]
    assert seen == [True, "gone"]


async def test_a_stream_whose_client_takes_nothing_is_closed_by_its_own_task_too() -> None:
    """Parked in ``send`` it is in nobody's generator: a generator that is only dropped would be closed later."""
    client = connection("GET", "/streaming")
    parked = asyncio.Event()

    async def send(message: Any) -> None:
        if message.get("body"):
            parked.set()
            await asyncio.Event().wait()

    serving = asyncio.create_task(client.run(send))
    await parked.wait()
    client.leave()
    await serving
    assert seen == [True, "gone"]


async def test_nothing_is_left_of_requests() -> None:
    for name in ("/plain", "/failing", "/streaming", "/waiting"):
        client = connection("GET", name)
        serving = asyncio.create_task(client.run())
        await asyncio.sleep(2 * module.WATCH_SECONDS)
        client.leave()
        await serving
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
