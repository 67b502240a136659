"""The balancer that the suite, and other tests of many processes, go through."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.live.balancer import Balancer

Answer = Callable[[socket.socket, bytes], None]


class Backend:
    """A server that keeps each connection's first bytes and answers with what it is given to do."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.requests.append(connection.recv(65536))
                    self._answer(connection, self.requests[-1])


def _named(name: str) -> Answer:
    body = name.encode()
    return lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body)


@pytest.fixture
def start() -> Iterator[Callable[[Answer], Backend]]:
    with ExitStack() as stack:

        def started(answer: Answer) -> Backend:
            backend = Backend(answer)
            stack.callback(backend.close)
            return backend

        yield started


def _ask(balancer: Balancer, request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") -> bytes:
    """Everything that comes back before the connection closes."""
    with socket.create_connection(("127.0.0.1", balancer.port), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while more := connection.recv(65536):
            answer += more
        return answer


def test_each_request_goes_to_the_next_process(start: Callable[[Answer], Backend]) -> None:
    backends = [start(_named(name)) for name in "abc"]
    with Balancer(backend.port for backend in backends) as balancer:
        assert [_ask(balancer)[-1:] for _ in range(6)] == [b"a", b"b", b"c", b"a", b"b", b"c"]


def test_a_request_arrives_as_it_was_sent_but_for_its_connection(start: Callable[[Answer], Backend]) -> None:
    backend = start(_named("a"))
    head = b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://b\r\nX-Twice: 1\r\nx-twice:  2 \r\n"
    with Balancer([backend.port]) as balancer:
        _ask(balancer, head + b"connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}")

    assert backend.requests == [head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"]


def test_a_process_that_refuses_the_connection_is_skipped(start: Callable[[Answer], Backend]) -> None:
    alive, dead = start(_named("a")), start(_named("b"))
    dead.close()
    with Balancer([dead.port, alive.port]) as balancer:
        assert [_ask(balancer)[-1:] for _ in range(3)] == [b"a"] * 3


def test_without_a_process_the_answer_is_503(start: Callable[[Answer], Backend]) -> None:
    backend = start(_named("a"))
    with Balancer([backend.port]) as balancer:
        balancer.remove(backend.port)
        assert _ask(balancer).startswith(b"HTTP/1.1 503 ")
        balancer.add(backend.port)
        assert _ask(balancer)[-1:] == b"a"


def test_a_stream_passes_while_it_is_being_written(start: Callable[[Answer], Backend]) -> None:
    seen = threading.Event()

    def stream(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"first")
        assert seen.wait(5)
        connection.sendall(b"second")

    with (
        Balancer([start(stream).port]) as balancer,
        socket.create_connection(("127.0.0.1", balancer.port), timeout=5) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(100) == b"first"
        seen.set()
        assert client.recv(100) == b"second"
        assert client.recv(100) == b""


def test_a_client_that_leaves_is_noticed_by_the_process(start: Callable[[Answer], Backend]) -> None:
    left = threading.Event()

    def stream(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"first")
        if connection.recv(100) == b"":
            left.set()

    with Balancer([start(stream).port]) as balancer:
        with socket.create_connection(("127.0.0.1", balancer.port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(100) == b"first"
        assert left.wait(5)


def test_an_early_answer_to_a_large_body_arrives(start: Callable[[Answer], Backend]) -> None:
    backend = start(_named("a"))
    body = bytes(5_000_000)
    with (
        Balancer([backend.port]) as balancer,
        socket.create_connection(("127.0.0.1", balancer.port), timeout=5) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        with suppress(OSError):
            client.sendall(body)
        assert client.recv(100).endswith(b"a")
