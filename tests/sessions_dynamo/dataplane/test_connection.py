"""What no server should do, and what becomes of it: no answer for another request, no exception but ``Failure``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
)

from sessions_dynamo import client
from sessions_dynamo.dataplane.attempts import Failure, Received
from sessions_dynamo.dataplane.endpoint import Proxy, proxy_of
from sessions_dynamo.dataplane.transport import Transport
from tests.sessions_dynamo.dataplane.servers import Play, Seen, Server, answer, cuts, sends, serving, stalls
from tests.sessions_dynamo.dataplane.support import until

HEADERS = {"Host": "dynamodb"}
OTHER_PROTOCOL = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
FIRST, SECOND = answer(b"first", crc=None), answer(b"second", crc=None)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(sends(FIRST)) as running:
        yield running


def transport(url: str, **options: Any) -> Transport:
    usual: dict[str, Any] = {"connect_seconds": 1.0, "read_seconds": 1.0, "connections": 2}
    return Transport(url, **{"proxy": None, "tls": None, "user_agent": "tests", **usual, **options})


async def post(to: Transport, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Received:
    return await to.post(headers or HEADERS, body)


async def failure_of(to: Transport, **options: Any) -> Any:
    with pytest.raises(Failure) as raised:
        await post(to, **options)
    return raised.value.error


@pytest.mark.parametrize("end", [1, 9, 20, len(SECOND) - 6, len(SECOND)])
async def test_the_beginning_of_a_second_answer_is_nobodys(end: int) -> None:
    with serving(sends(FIRST + SECOND[:end]), sends(SECOND)) as server:
        to = transport(server.url)
        assert (await post(to)).body == b"first"
        assert (await post(to)).body == b"second"
        assert server.connections == 2
        await to.close()


async def test_nothing_is_sent_behind_a_request_that_was_answered_before_it_was_sent() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()

    async def hasty() -> list[socket.socket]:
        taken = []
        for _ in range(2):
            connection, _ = await loop.sock_accept(listener)
            taken.append(connection)
            await loop.sock_recv(connection, 1000)
            await loop.sock_sendall(connection, FIRST)
        return taken

    accepting = asyncio.create_task(hasty())
    to = transport(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert (await post(to, b"x" * 30_000_000)).body == b"first"
    assert (await post(to)).body == b"first"
    await to.close()
    for taken in await accepting:
        taken.close()
    listener.close()


@pytest.mark.parametrize("value", ["a\nb: c", "a\r\nb: c", "a\0", "ключ"])
async def test_a_header_that_cannot_be_sent_is_not_and_costs_no_connection(value: str) -> None:
    with serving(sends(FIRST)) as server:
        to = transport(server.url)
        for _ in range(5):
            assert isinstance(await failure_of(to, headers={**HEADERS, "Authorization": value}), HTTPClientError)
        assert server.seen == []
        assert (await post(to)).body == b"first"
        await to.close()


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        pytest.param(stalls(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), ConnectionClosedError, id="endless head"),
        pytest.param(sends(FIRST.replace(b"200", b"000")), ConnectionClosedError, id="no status"),
        pytest.param(cuts(b"HTTP/1.1 100 Continue\r\n\r\n" * 3), ConnectionClosedError, id="informational alone"),
        pytest.param(
            sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            HTTPClientError,
            id="another protocol",
        ),
    ],
)
async def test_what_is_no_answer(play: Play, kind: type[Exception]) -> None:
    with serving(play) as server:
        to = transport(server.url)
        assert isinstance(await failure_of(to), kind)
        await until(lambda: not server.open)
        await to.close()


async def test_informational_answers_without_end_are_a_silence() -> None:
    def informs(connection: socket.socket, _: Seen) -> bool:
        while not running.released.wait(0.05):
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        return False

    with serving(informs) as running:
        to = transport(running.url)
        assert isinstance(await failure_of(to), ReadTimeoutError)
        await to.close()


async def test_a_body_has_its_time_from_the_end_of_the_head() -> None:
    head, body = FIRST.split(b"\r\n\r\n")

    def hesitates(connection: socket.socket, _: Seen) -> bool:
        for piece in (head, b"\r\n\r\n", body):
            # Longer than the time to read, were it all one wait.
            running.released.wait(0.6)
            connection.sendall(piece)
        return False

    with serving(hesitates) as running:
        to = transport(running.url, read_seconds=1.3)
        assert (await post(to)).body == b"first"
        await to.close()


async def test_closed_it_opens_no_connection() -> None:
    with serving(stalls()) as server:
        to = transport(server.url)
        waiting = asyncio.create_task(failure_of(to))
        await until(lambda: server.seen)
        await to.close()
        assert isinstance(await waiting, ConnectionClosedError)
        assert isinstance(await failure_of(to), ConnectionClosedError)
        assert server.connections == 1


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
async def test_a_name_that_is_none(host: str) -> None:
    to = transport(f"http://{host}:8000/")
    assert isinstance(await failure_of(to), EndpointConnectionError)
    to = transport("http://dynamodb:8000/", proxy=Proxy(f"http://{host}:3128", {}))
    assert isinstance(await failure_of(to), ProxyConnectionError)


@pytest.mark.parametrize("url", ["http://proxy:abc", "http://proxy:99999", "http://"])
def test_a_proxy_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(ProxyConnectionError):
        proxy_of(client.dynamodb(), "http://dynamodb.invalid:8000/")


async def test_a_loop_without_happy_eyeballs_is_served(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    create = loop.create_connection

    async def plain(*arguments: Any, ssl: Any = None) -> Any:
        return await create(*arguments, ssl=ssl)

    to = transport(server.url)
    to._eyeballs = {}
    monkeypatch.setattr(loop, "create_connection", plain)
    assert (await post(to)).body == b"first"
    await to.close()


async def test_a_turn_is_given_back_whatever_happens(server: Server) -> None:
    to = transport(server.url, connections=1)
    server.script = [cuts(), stalls(), sends(FIRST)]
    assert isinstance(await failure_of(to), ConnectionClosedError)
    cancelled = asyncio.create_task(post(to))
    await until(lambda: len(server.seen) == 2)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (await post(to)).body == b"first"
    nowhere = transport(server.url.replace(str(server.port), "1"), connections=1)
    for _ in range(3):
        assert isinstance(await failure_of(nowhere), EndpointConnectionError | ConnectTimeoutError)
    await to.close()
