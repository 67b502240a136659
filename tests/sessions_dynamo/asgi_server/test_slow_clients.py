"""Clients that take their time, to send or to take: they are left, and nobody else notices."""

from __future__ import annotations

import re
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.sessions_dynamo.asgi_server.servers import Client, Gunicorn, gunicorn

MEMORY_BYTES = 30 * 1024 * 1024


def _memory(pid: int) -> int:
    """What a process has in memory, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _trickle(clients: list[Client], data: bytes = b"x") -> None:
    """A byte from each that the server still takes."""
    for client in clients:
        with suppress(OSError):
            client.send(data)


@pytest.mark.parametrize(
    ("begin", "answer"),
    [(b"POST /echo HTTP/1.1\r\nX: ", b"408"), (b"POST /echo HTTP/1.1\r\nContent-Length: 99\r\n\r\n", b"408")],
    ids=["head", "body"],
)
def test_three_hundred_that_send_a_byte_a_second_stop_nobody(server: Gunicorn, begin: bytes, answer: bytes) -> None:
    clients = [server.connect() for _ in range(300)]
    for client in clients:
        client.send(begin)
    for _ in range(5):
        time.sleep(1)
        _trickle(clients)
        assert server.get("hello")[0] == 200

    for client in clients:
        said = client.rest()
        assert said.startswith(b"HTTP/1.1 " + answer)
        assert b"connection: close" in said


def test_the_application_hears_that_a_body_will_not_come(server: Gunicorn) -> None:
    before = server.log.count("disconnect")
    client = server.connect()
    client.request("echo", "Content-Length: 99", method="POST", body=b"part")
    assert client.rest().startswith(b"HTTP/1.1 408")
    server.said("disconnect", before + 1)


def test_a_connection_on_which_nothing_comes_is_closed_without_a_word(server: Gunicorn) -> None:
    assert server.connect().rest() == b""


def test_a_client_that_waits_for_the_application_is_not_the_one_that_is_late(server: Gunicorn) -> None:
    client = server.connect()
    client.request("slow?3", method="POST", body=b"x" * 200_000)
    assert client.response()[0] == 200


def test_readers_that_take_nothing_are_left_and_cost_no_memory(server: Gunicorn) -> None:
    before = _memory(server.worker())
    readers = [server.clients.enter_context(Client(server.port, receive_buffer=4096)) for _ in range(30)]
    for reader in readers:
        reader.request("large")
    most = 0
    for _ in range(10):
        most = max(most, _memory(server.worker()))
        assert server.get("hello")[0] == 200
        time.sleep(0.1)
    assert most - before < MEMORY_BYTES

    server.said("sent", 30)
    for reader in readers:
        assert len(reader.rest()) < 5_000_000
    assert _memory(server.worker()) - before < MEMORY_BYTES


def _taken_of_events(server: Gunicorn, of: int) -> int:
    """Bytes of small events that were taken from the application until a client that reads nothing was left."""
    before = server.log.count("left after")
    reader = server.clients.enter_context(Client(server.port, receive_buffer=4096))
    reader.request(f"events?{of}")
    server.said("left after", before + 1)
    return int(re.findall(r"left after (\d+)", server.log)[-1])


def test_small_events_for_a_reader_that_takes_nothing_are_few(server: Gunicorn) -> None:
    assert _taken_of_events(server, 10_000_000) < 1_000_000


def test_what_fits_into_the_kernel_is_no_reason_to_wait_for_ever(server: Gunicorn) -> None:
    """Nothing waits in the process then, so only the kernel knows that nothing is taken."""
    assert _taken_of_events(server, 30_000) >= 30_000


def test_a_reader_that_takes_something_now_and_then_is_served(server: Gunicorn) -> None:
    reader = server.clients.enter_context(Client(server.port, receive_buffer=65536))
    reader.request("large")
    taken = 0
    for _ in range(8):
        time.sleep(0.5)
        for _ in range(20):
            taken += len(reader.socket.recv(65536))
    while data := reader.socket.recv(1_000_000):
        taken += len(data)
        if data.endswith(b"0\r\n\r\n"):
            break
    assert taken > 100_000_000


def test_an_idle_stream_outlives_the_deadlines(server: Gunicorn) -> None:
    stream = server.connect().open_stream()
    stream.socket.settimeout(3)
    with pytest.raises(TimeoutError):
        stream.rest()


def test_a_head_without_end_is_refused(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"GET /hello HTTP/1.1\r\nX: ")
    with suppress(OSError):
        for _ in range(100):
            client.send(b"x" * 65536)
    assert client.rest()[:12] in (b"HTTP/1.1 431", b"")
    assert server.get("hello")[0] == 200


# --- More connections than files ------------------------------------------------------------------------------


def test_a_process_never_runs_out_of_files(tmp_path: Path) -> None:
    with gunicorn(tmp_path, files=200) as server:
        server.said("Serving up to")
        assert "The limit of open files was raised from 100 to 200." in server.log
        (most,) = re.findall(r"Serving up to (\d+) connections", server.log)
        assert int(most) == 100
        assert server.get("files") == (200, b"200")

        streams = [server.connect().open_stream() for _ in range(100)]
        for _ in range(3):
            with Client(server.port) as client:
                client.request("hello")
                status, head, _ = client.response()
                assert status == 503
                assert b"retry-after: 1" in head
                assert b"connection: close" in head
        crowd = []
        for _ in range(300):
            crowd.append(server.connect())
        assert server.log.count("newcomers are answered 503") == 1
        for client in crowd:
            assert client.rest()[:12] in (b"HTTP/1.1 503", b"")

        streams.pop().socket.close()
        server.said("left")
        assert server.get("hello")[0] == 200
        assert "out of system resource" not in server.log


def test_idle_connections_make_room_the_longest_idle_first(tmp_path: Path) -> None:
    with gunicorn(tmp_path, MAX_CONNECTIONS="20") as server:
        kept = [server.connect() for _ in range(20)]
        for client in kept:
            assert client.get("hello")[0] == 200
        assert kept[0].get("hello")[0] == 200

        assert server.get("hello")[0] == 200
        assert kept[1].rest() == b""
        assert kept[0].get("hello")[0] == 200


def test_newcomers_do_not_oust_each_other(tmp_path: Path) -> None:
    with gunicorn(tmp_path, MAX_CONNECTIONS="20") as server:
        for _ in range(17):
            server.connect().open_stream()
        newcomers = [server.connect() for _ in range(10)]
        # Until all of them have come: one that is idle would make room for the next.
        for client in newcomers:
            client.request("slow?3")
        statuses = sorted(client.response()[0] for client in newcomers)
        assert statuses == [200] * 3 + [503] * 7


def test_a_client_that_is_gone_does_not_let_a_careless_generator_stop_the_loop(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as server:
        with Client(server.port) as client:
            client.request("endless")
            client.socket.recv(100)
        begun = time.monotonic()
        assert server.get("hello")[0] == 200
        assert time.monotonic() - begun < 5


def test_a_socket_that_is_reset_before_it_is_looked_at_harms_nothing(server: Gunicorn) -> None:
    for _ in range(50):
        client = Client(server.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.send(b"GET /hello HT")
        client.socket.close()
    assert server.get("hello")[0] == 200
    assert "Traceback" not in server.log
