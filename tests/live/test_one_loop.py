"""What slow, blocking and vanishing clients cost the others: the real site, one event loop on the real worker class."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conformance.processes import ROOT
from tests.engines import on_dynamodb_local
from tests.live.stream_client import Client, ModernClient, Stream
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

REQUEST_READ_SECONDS = 6
GRACEFUL_SECONDS = 24
LONG_BEFORE_GRACEFUL_SECONDS = GRACEFUL_SECONDS / 3
"""What waits for nothing takes less, on a busy machine too; what waits for an open stream takes twice as long."""
TEXTS, TEXT_CHARACTERS = 400, 250_000
"""A stream of 100 MB."""
DROPPED = 200
MAKE_TOKEN = """
from django.contrib.auth import get_user_model
from django_mcpz.bearer_tokens.models import Token
user = get_user_model().objects.create_user("caller")
print("token:" + Token.create(name="test", user=user)[1])
"""


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    """One process; each request looks its bearer token up in the database."""
    with stream_site(
        engine[1],
        tmp_path_factory.mktemp("one-loop"),
        count=1,
        MCP_AUTH="django_mcpz.bearer_tokens.auth.token_auth",
        AUTH_RECHECK_SECONDS="0",
        REQUEST_READ_SECONDS=str(REQUEST_READ_SECONDS),
        GRACEFUL_TIMEOUT=str(GRACEFUL_SECONDS),
    ) as site:
        yield site


@pytest.fixture(scope="module")
def token(site: StreamSite) -> dict[str, str]:
    """The header of a caller who may come in."""
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", MAKE_TOKEN]
    said = subprocess.run(command, cwd=ROOT, env=site.env, check=True, capture_output=True, text=True).stdout
    return {"Authorization": f"Bearer {said.partition('token:')[2].strip()}"}


@pytest.fixture
def client(site: StreamSite, token: dict[str, str]) -> Client:
    return Client(site, headers=token)


def fetch(site: StreamSite, path: str) -> int:
    """The status at a path, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", site.ports[0], timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def all_is_answered(site: StreamSite, client: Client) -> None:
    """The endpoint, health and a page that Django's own handler serves."""
    assert client.request("ping").result == {}
    assert fetch(site, "/healthz") == 200
    assert fetch(site, "/readyz") == 200
    assert fetch(site, "/admin/") == 302


def poured(client: ModernClient) -> Stream:
    """A long stream that nobody stores."""
    message = client.message("tools/call", {"name": "pour", "arguments": {"number": TEXTS, "size": TEXT_CHARACTERS}})
    message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "info"
    return client.send_to(client.site.ports[0], message)


def census(client: Client) -> dict[str, int]:
    return client.call("census").data


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


# --- Clients that take their time -----------------------------------------------------------------------------


def test_three_hundred_that_send_a_byte_a_second_hold_up_nobody(
    site: StreamSite, client: Client, token: Mapping[str, str]
) -> None:
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token['Authorization']}\r\n"
    accepted = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    begun = (head, f"{head}{accepted}Content-Length: 1000\r\n\r\n")
    with ExitStack() as opened:
        senders = []
        for number in range(300):
            sender = opened.enter_context(socket.create_connection(("127.0.0.1", site.ports[0]), timeout=30))
            sender.sendall(begun[number % 2].encode())
            senders.append(sender)
        for _ in range(REQUEST_READ_SECONDS // 2):
            time.sleep(1)
            for sender in senders:
                with suppress(OSError):
                    sender.sendall(b"x")
            all_is_answered(site, client)
        for sender in senders:
            assert sender.recv(100)[9:12] == b"408"


def test_slow_readers_of_a_long_stream_cost_little_memory(site: StreamSite, token: Mapping[str, str]) -> None:
    client = Client(site, headers=token)
    worker = site.worker_pid(site.ports[0])
    before = most = resident_bytes(worker)
    size = 3 * TEXTS * TEXT_CHARACTERS
    with ExitStack() as opened:
        readers = []
        for _ in range(3):
            readers.append(opened.enter_context(poured(ModernClient(site, headers=token))))
        for _ in range(50):
            for stream in readers:
                stream.taken(4096)
            most = max(most, resident_bytes(worker))
            time.sleep(0.1)
        all_is_answered(site, client)
    print(f"of {size:,} bytes {most - before:,} were kept for 3 slow readers")
    assert most - before < size / 4


def test_a_reader_that_keeps_pace_has_all_of_a_long_stream(site: StreamSite, token: Mapping[str, str]) -> None:
    with poured(ModernClient(site, headers=token)) as stream:
        messages = stream.messages()
    assert len(messages) == TEXTS + 1
    assert "result" in messages[-1]


# --- Tools that block -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tools", [8, 200])
def test_blocking_tools_hold_up_nobody_else(site: StreamSite, client: Client, tmp_path: Path, tools: int) -> None:
    released = tmp_path / "released"
    before = census(client)["tasks"]
    with ThreadPoolExecutor(tools) as pool:
        try:
            calls = [pool.submit(client.call, "block_until", path=str(released)) for _ in range(tools)]
            # An async tool is answered, and tells when all of them have come.
            while census(client)["tasks"] < before + tools:
                time.sleep(0.1)
            all_is_answered(site, client)
            all_is_answered(site, client)
            assert not any(call.done() for call in calls)
        finally:
            released.touch()
        assert {call.result().text for call in calls} == {"held"}


# --- Clients that vanish --------------------------------------------------------------------------------------


def test_streams_that_were_reset_leave_nothing(site: StreamSite, client: Client, token: Mapping[str, str]) -> None:
    port = site.ports[0]
    clients = [Client(site, headers=token) for _ in range(DROPPED // 2)]
    modern = ModernClient(site, headers=token)

    def drop() -> dict[str, int]:
        """Open a stream of each kind for each, reset them all; what is left when nothing is given up any more."""
        streams = [opener.get(port) for opener in clients]
        streams += [modern.listen(port, "test://a") for _ in clients]
        for stream in streams:
            next(stream.read())
        assert census(client)["tasks"] > DROPPED
        for stream in streams:
            stream.reset()
        left = census(client)
        while (now := census(client)) != left:
            left = now
            time.sleep(1)
        return left

    before = drop()
    after = drop()
    grown = {name: (before.get(name, 0), number) for name, number in after.items() if number > before.get(name, 0)}
    print(f"after {DROPPED} streams and after {2 * DROPPED}: {grown}")
    assert after["tasks"] < DROPPED / 4
    # What is kept for each would be ``DROPPED`` more.
    assert all(number - earlier < DROPPED / 4 for earlier, number in grown.values()), grown


# --- The process ends -----------------------------------------------------------------------------------------


def test_recycling_waits_for_no_open_stream(engine: tuple[str, str], tmp_path: Path) -> None:
    recycling = {"GUNICORN_CMD_ARGS": "--max-requests 50", "GRACEFUL_TIMEOUT": str(GRACEFUL_SECONDS)}
    with stream_site(engine[1], tmp_path, count=1, **recycling) as site:
        port = site.ports[0]
        holder, caller = Client(site), Client(site)
        worker = site.worker_pid(port)
        with holder.get(port) as stream, ThreadPoolExecutor(1) as pool:
            ended = pool.submit(stream.messages)
            began = time.monotonic()
            while not ended.done():
                answer = caller.request("ping")
                # A connection that the worker had taken already is told to come back.
                assert answer.status == 503 or answer.result == {}
            seconds = time.monotonic() - began
            assert ended.result() == []
        with holder.get(port, stream.cursor) as again:
            assert caller.call("say_aside", first=1, last=1).text == "said"
            assert holder.call("say_aside", first=2, last=2).text == "said"
            assert again.next()["params"]["data"] == 2
            assert site.worker_pid(port) != worker
    print(f"50 requests and recycling with an open stream took {seconds:.1f} s of {GRACEFUL_SECONDS}")
    assert seconds < LONG_BEFORE_GRACEFUL_SECONDS


def test_connections_after_sigterm_are_served_or_refused(engine: tuple[str, str], tmp_path: Path) -> None:
    released, begun = tmp_path / "released", tmp_path / "released.begun"
    with stream_site(engine[1], tmp_path, count=1, GRACEFUL_TIMEOUT=str(GRACEFUL_SECONDS)) as site:
        # Who cannot come back is waited for.
        client = ModernClient(site)
        with ThreadPoolExecutor(1) as pool:
            try:
                under_way = pool.submit(client.call, "block_until", path=str(released))
                while not begun.exists():
                    time.sleep(0.05)
                process = site.stop(site.ports[0])
                outcomes = set()
                # A tool still runs: newcomers do not wait for it.
                while "refused" not in outcomes:
                    outcomes.add(_knock(site.ports[0]))
                assert not under_way.done()
            finally:
                released.touch()
            assert under_way.result().text == "held"
        process.wait(30)
    print(f"connections after SIGTERM: {outcomes}")


def _knock(port: int) -> str:
    """What a newcomer meets; raises ``TimeoutError`` if that is nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_BEFORE_GRACEFUL_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return str(connection.getresponse().status)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError:
        return "closed"
    finally:
        connection.close()
