"""What comes over a connection: one request after the other, or anything else."""

from __future__ import annotations

import socket
import time

import pytest

from tests.sessions_dynamo.asgi_server.servers import Gunicorn


def test_a_connection_serves_one_request_after_the_other(server: Gunicorn) -> None:
    client = server.connect()
    for _ in range(3):
        client.request("hello")
        status, head, body = client.response()
        assert (status, body) == (200, b"hello 127.0.0.1 http")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"server: uvicorn" in head
        assert b"date: " in head


def test_a_request_that_is_none_is_told_so_behind_another(server: Gunicorn) -> None:
    client = server.connect()
    client.request("hello")
    assert client.response()[0] == 200
    client.send(b"GET /hello HTTP/1.1\r\nno header\r\n\r\n")
    assert client.response()[0] == 400


def test_a_request_does_not_see_the_context_of_the_one_before(server: Gunicorn) -> None:
    client = server.connect()
    for _ in range(3):
        client.request("remember", method="POST", body=b"x" * 300_000)
        assert client.response()[2] == b"nothing 300000"


@pytest.mark.parametrize("surplus", [b"\r\n", b"GET /hello HTTP/1.1\r\n\r\n", b"\0\1\2", b"x" * 200_000])
def test_bytes_during_a_stream_do_not_hide_that_the_client_left(server: Gunicorn, surplus: bytes) -> None:
    before = server.log.count("left")
    client = server.connect().open_stream()
    client.send(surplus)
    client.socket.close()
    server.said("left", before + 1)


def test_blanks_around_a_headers_value_are_none_of_it(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"GET /values HTTP/1.1\r\nHost: test\r\nX-A: \t both \t\r\nX-B:none\r\nX-C: in side \r\n\r\n")
    assert client.response()[2] == repr([b"both", b"none", b"in side"]).encode()


def test_a_pipelined_request_is_not_answered_and_the_connection_says_so(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"GET /slow?0.2 HTTP/1.1\r\nHost: test\r\n\r\n" + b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n")
    status, head, body = client.response()
    assert (status, body) == (200, b"slow")
    assert b"connection: close" in head
    assert client.rest() == b""


def test_a_client_that_half_closes_during_a_stream_is_gone(server: Gunicorn) -> None:
    before = server.log.count("left")
    client = server.connect().open_stream()
    client.socket.shutdown(socket.SHUT_WR)
    server.said("left", before + 1)
    assert b"over" not in client.rest()


def test_a_reset_during_a_stream_is_noticed_at_once(server: Gunicorn) -> None:
    before = server.log.count("left")
    client = server.connect().open_stream()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.socket.close()
    server.said("left", before + 1)


def test_a_request_that_is_cut_off_is_the_clients_fault(server: Gunicorn) -> None:
    client = server.connect()
    client.request("echo", "Content-Length: 99", method="POST", body=b"part")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_garbage_is_a_bad_request_and_no_traceback(server: Gunicorn, request_bytes: bytes) -> None:
    client = server.connect()
    client.send(request_bytes)
    said = client.rest()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in said
    assert "Traceback" not in server.log


def test_a_connection_serves_on_after_a_body_that_was_refused_unread(server: Gunicorn) -> None:
    client = server.connect()
    client.request("refuse", method="POST", body=b"x" * 5_000_000)
    assert client.response()[0] == 413
    assert client.get("hello")[0] == 200


def test_a_chunked_body_is_read_and_its_trailers_are_no_headers(server: Gunicorn) -> None:
    client = server.connect()
    client.request("headers", "Transfer-Encoding: chunked", method="POST", body=b"2\r\nab\r\n0\r\nX-Late: 1\r\n\r\n")
    assert client.response()[2] == b"host transfer-encoding"


def test_a_body_is_asked_for_where_the_client_waits_for_that(server: Gunicorn) -> None:
    client = server.connect()
    client.request("echo", "Expect: 100-continue", "Content-Length: 2", method="POST")
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ab")
    assert client.response()[2] == b"2"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_upgrade_is_not_taken_and_the_request_is_served(server: Gunicorn, method: str) -> None:
    client = server.connect()
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    for _ in range(2):
        body = b"ab" if method == "POST" else b""
        client.request("echo", *upgrade, method=method, body=body)
        status, _, answer = client.response()
        assert (status, answer) == (200, b"%d" % len(body))
    assert client.get("hello")[0] == 200


def test_the_chunked_body_of_an_upgrade_may_come_in_pieces(server: Gunicorn) -> None:
    client = server.connect()
    client.request("echo", "Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked", method="POST")
    for piece in (b"2\r\n", b"ab\r", b"\n0\r\n", b"\r\n"):
        time.sleep(0.05)
        client.send(piece)
    assert client.response()[2] == b"2"
    assert client.get("hello")[0] == 200


def test_http_1_0_is_answered_and_closed(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"GET /hello HTTP/1.0\r\n\r\n")
    assert client.rest().endswith(b"hello 127.0.0.1 http")


def test_http_1_0_gets_a_stream_without_chunks(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"GET /stream HTTP/1.0\r\n\r\n")
    head = client.read_until(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert client.read_until(b"\n\n") == b": open\n\n"


def test_http_1_0_is_not_told_to_continue(server: Gunicorn) -> None:
    client = server.connect()
    client.send(b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
    said = client.rest()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"\r\n\r\n2")


def test_an_application_that_fails_is_a_500_with_its_traceback(server: Gunicorn) -> None:
    before = server.log.count("RuntimeError: broken")
    assert server.get("broken") == (500, b"Internal Server Error")
    server.said("RuntimeError: broken", before + 1)
