"""How a worker stops: who is told, who is waited for, and that everything at its end runs."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.sessions_dynamo.asgi_server.servers import GRACEFUL_SECONDS, Client, Gunicorn, gunicorn, wait_for

AT_ONCE = GRACEFUL_SECONDS / 3
"""A bound for what waits for nothing, on a busy machine."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    running = []

    def start(*options: str, **environment: str) -> Gunicorn:
        context = gunicorn(tmp_path, *options, files=None, **environment)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


def _stops_in_order(server: Gunicorn, worker: int) -> None:
    """The application was told once, its lifespan ended in time, then the process ended as it should."""
    server.said(f"{worker} atexit")
    words = [line.partition(" ")[2] for line in server.log.splitlines() if line.startswith(f"{worker} ")]
    assert words.count("released") == 1
    assert words[-3:] == ["shutdown with time left", "worker_exit", "atexit"]
    assert "Traceback" not in server.log


def test_streams_and_idle_connections_do_not_hold_sigterm_up(start: Callable[..., Gunicorn]) -> None:
    server = start()
    worker = server.worker()
    streams = [server.connect().open_stream() for _ in range(20)]
    idle = [server.connect() for _ in range(5)]
    for client in idle:
        assert client.get("hello")[0] == 200
    silent = server.connect()

    server.signal(signal.SIGTERM)
    assert server.ends() < AT_ONCE

    for stream in streams:
        assert stream.rest().endswith(b": over\n\n\r\n0\r\n\r\n")
    for client in [*idle, silent]:
        assert client.rest() == b""
    assert server.log.count("ended") == 20
    _stops_in_order(server, worker)


def test_recycling_with_an_open_stream_is_prompt(start: Callable[..., Gunicorn]) -> None:
    server = start("--max-requests", "3")
    worker = server.worker()
    stream = server.connect().open_stream()
    assert server.get("hello")[0] == 200
    begun = time.monotonic()
    assert server.get("hello")[0] == 200

    assert stream.rest().endswith(b": over\n\n\r\n0\r\n\r\n")
    server.said("started", 2)
    assert time.monotonic() - begun < AT_ONCE
    _stops_in_order(server, worker)
    assert server.worker() != worker
    assert server.get("hello")[0] == 200


def test_streams_that_clients_end_count_for_recycling(start: Callable[..., Gunicorn]) -> None:
    server = start("--max-requests", "3")
    for _ in range(3):
        with Client(server.port) as client:
            client.open_stream()
    server.said("started", 2)


def test_a_reload_tells_the_old_worker(start: Callable[..., Gunicorn]) -> None:
    server = start()
    worker = server.worker()
    stream = server.connect().open_stream()
    server.signal(signal.SIGHUP)

    assert stream.rest().endswith(b": over\n\n\r\n0\r\n\r\n")
    _stops_in_order(server, worker)
    assert server.get("hello")[0] == 200


def test_a_request_under_way_is_answered_and_newcomers_are_not_left_hanging(start: Callable[..., Gunicorn]) -> None:
    server = start()
    worker = server.worker()
    under_way = server.connect()
    under_way.request("slow?2")
    waiting = [server.connect() for _ in range(3)]

    server.signal(signal.SIGTERM)
    refused = threading.Event()

    def knock() -> None:
        while not refused.is_set():
            with suppress(OSError), Client(server.port) as late:
                late.socket.settimeout(GRACEFUL_SECONDS - 2)
                late.request("hello")
                late.rest()
                continue
            refused.set()

    knocking = threading.Thread(target=knock)
    knocking.start()
    assert under_way.response()[2] == b"slow"
    assert under_way.rest() == b""
    for client in waiting:
        assert client.rest() == b""
    assert server.ends() < AT_ONCE
    knocking.join(AT_ONCE)
    assert refused.is_set()
    _stops_in_order(server, worker)


def test_what_does_not_end_is_cut_off_and_cleans_up_before_anybody_kills(
    start: Callable[..., Gunicorn],
) -> None:
    server = start("--graceful-timeout", "5", "--timeout", "2", DEAF="1")
    worker = server.worker()
    server.connect().open_stream()
    server.connect().request("stubborn")
    server.said("working")
    server.signal(signal.SIGTERM)
    server.ends()

    assert server.log.index("cleaned up") < server.log.index("shutdown with time left")
    assert "2 requests and 2 connections are cut off" in server.log
    assert "left" in server.log
    _stops_in_order(server, worker)


def test_draining_for_longer_than_the_timeout_kills_nobody(start: Callable[..., Gunicorn]) -> None:
    server = start("--timeout", "2", "--max-requests", "2", DEAF="1")
    worker = server.worker()
    stream = server.connect().open_stream()
    slow = server.connect()
    slow.request("slow?5")
    assert slow.response()[2] == b"slow"
    stream.socket.close()
    _stops_in_order(server, worker)
    assert "WORKER TIMEOUT" not in server.log


@pytest.mark.parametrize("how", ["SIGTERM", "recycling"])
def test_a_thread_that_still_runs_holds_no_process_up(start: Callable[..., Gunicorn], how: str) -> None:
    server = start("--graceful-timeout", "6", *(("--max-requests", "2") if how == "recycling" else ()))
    worker = server.worker()
    server.connect().request("in_thread")
    server.said("in a thread")
    if how == "recycling":
        assert server.get("hello")[0] == 200
        server.said("started", 2)
    else:
        server.signal(signal.SIGTERM)
        server.ends()
    # Killed, it would not come so far.
    _stops_in_order(server, worker)
    assert "WORKER TIMEOUT" not in server.log


def test_an_application_that_is_loaded_before_the_fork_is_served_and_stopped_alike(
    start: Callable[..., Gunicorn],
) -> None:
    server = start("--preload", "--workers", "2")
    server.said("started", 2)
    streams = [server.connect().open_stream() for _ in range(8)]
    server.signal(signal.SIGTERM)
    for stream in streams:
        assert stream.rest().endswith(b": over\n\n\r\n0\r\n\r\n")
    assert server.ends() < AT_ONCE
    _stops_in_order(server, server.worker())


def test_ctrl_c_waits_for_no_request(start: Callable[..., Gunicorn]) -> None:
    server = start()
    worker = server.worker()
    slow = server.connect()
    slow.request("slow?9")
    time.sleep(0.3)
    server.signal(signal.SIGINT)
    assert server.ends() < AT_ONCE
    _stops_in_order(server, worker)


def test_an_application_that_fails_to_start_does_not_serve(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), gunicorn(tmp_path, FAIL="1"):
        pytest.fail("it serves")
    log = (tmp_path / "gunicorn.log").read_text()
    assert "this application does not start" in log
    assert "Worker failed to boot" in log


def test_a_worker_without_its_arbiter_stops(start: Callable[..., Gunicorn]) -> None:
    server = start()
    worker = server.worker()
    stream = server.connect().open_stream()
    server.process.kill()
    assert stream.rest().endswith(b": over\n\n\r\n0\r\n\r\n")
    wait_for(lambda: f"{worker} atexit" in server.log)
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", server.port)) != 0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_is_served_and_stopped_alike(start: Callable[..., Gunicorn], tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost"),
        ],
        check=True,
        capture_output=True,
    )
    server = start("--keyfile", key, "--certfile", certificate, MAX_CONNECTIONS="2")
    worker = server.worker()
    context = ssl.create_default_context(cafile=certificate)
    streams = [server.connect() for _ in range(2)]
    for stream in streams:
        stream.socket = context.wrap_socket(stream.socket, server_hostname="localhost")
        stream.open_stream()
    refused = server.connect()
    refused.socket = context.wrap_socket(refused.socket, server_hostname="localhost")
    assert refused.rest().startswith(b"HTTP/1.1 503")

    server.signal(signal.SIGTERM)
    assert server.ends() < AT_ONCE
    for stream in streams:
        assert b": over" in stream.rest()
    _stops_in_order(server, worker)
