"""The bell over a real Redis, which is killed, stalled, replaced, and refuses; and none, which needs no Redis."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest
from pytest_django import Settings

from mcpsite.endpoint.peers import redis_bell
from mcpsite.endpoint.peers.bell import CannotRing, NoBell, chosen_bell
from mcpsite.endpoint.peers.bell_channels import inbox_channel, news_channel, stream_channel
from mcpsite.endpoint.peers.redis_bell import LATE_SECONDS, MOST_PENDING, PROOF_SECONDS, RedisBell
from mcpsite.endpoint.peers.redis_connection import connection_of
from tests.conformance.processes import ROOT
from tests.conftest import NOT_TESTED
from tests.engines import EngineMissing, free_port
from tests.mcpsite.endpoint.peers.redis_server import PASSWORD, QUOTED, RedisServer, redis_server

PATIENCE_SECONDS: Final = 40.0
LOGGER: Final = "mcpsite.endpoint.peers.redis_bell"

Starter = Callable[..., RedisServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start a Redis, with more of a command line; without one a test is skipped, and on CI fails."""
    with ExitStack() as running:

        def started(*options: str) -> RedisServer:
            try:
                return running.enter_context(redis_server(tmp_path, *options))
            except EngineMissing as exc:
                if os.environ.get("CI") == "true":
                    pytest.fail(str(exc))
                pytest.skip(f"{NOT_TESTED} over Redis: {exc}")

        yield started


@pytest.fixture
def server(start: Starter) -> RedisServer:
    return start()


@pytest.fixture(autouse=True)
def _said_without_the_password(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, at whatever level."""
    caplog.set_level(logging.DEBUG)
    yield
    said = caplog.text + "".join(str(record.args) for record in caplog.get_records("call"))
    assert PASSWORD not in said
    assert QUOTED not in said


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


class Life:
    """A bell that runs, and what it told."""

    def __init__(self, url: str) -> None:
        self.states: list[bool] = []
        self.heard: Counter[str] = Counter()
        self.bell = RedisBell(url, self.states.append)

    def listen(self, channel: str) -> None:
        self.bell.listen(channel, lambda: self.heard.update([channel]))

    async def works(self) -> None:
        await until(lambda: self.bell.works)

    async def fails(self) -> None:
        await until(lambda: not self.bell.works)


@asynccontextmanager
async def living(*urls: str) -> AsyncIterator[list[Life]]:
    """Bells that run."""
    lives = [Life(url) for url in urls]
    tasks = [asyncio.create_task(life.bell.run()) for life in lives]
    try:
        yield lives
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert not any(life.bell.works for life in lives)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == LOGGER and r.levelno == logging.WARNING]


def _infos(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == LOGGER and r.levelno == logging.INFO]


# --- While it works -------------------------------------------------------------------------------------------


async def test_a_ring_is_heard_by_every_other_worker_that_listens(server: RedisServer) -> None:
    async with living(*[server.url] * 3) as (one, two, three):
        two.listen("news")
        three.listen("news")
        for life in (one, two, three):
            await life.works()
        assert two.heard == three.heard == {"news": 1}, "listening has begun"
        one.bell.ring("news")
        one.bell.ring("nobody listens")
        await until(lambda: two.heard["news"] == three.heard["news"] == 2)
        assert [life.states for life in (one, two, three)] == [[True]] * 3
    assert one.states == [True, False]


async def test_it_hears_its_own_rings_as_well(server: RedisServer) -> None:
    async with living(server.url) as (one,):
        await one.works()
        one.listen("inbox")
        await until(lambda: one.heard["inbox"] == 1)
        one.bell.ring("inbox")
        await until(lambda: one.heard["inbox"] == 2)


async def test_channels_come_and_go(server: RedisServer) -> None:
    async with living(*[server.url] * 2) as (one, two):
        await one.works()
        channels = [stream_channel(f"s{number}") for number in range(300)]
        for channel in channels:
            one.listen(channel)
        await until(lambda: len(one.heard) == len(channels))
        for channel in channels[1:]:
            one.bell.forget(channel)
        one.bell.forget("nobody listens")
        await until(lambda: len(server.ask("PUBSUB", "CHANNELS", stream_channel("*"))) == 1)
        await two.works()
        for channel in [*channels[1:], channels[0]]:
            two.bell.ring(channel)
        await until(lambda: one.heard[channels[0]] == 2)
        assert set(one.heard.values()) == {1, 2}
        assert one.heard.total() == len(channels) + 1


async def test_who_listens_again_is_called_when_that_has_begun(server: RedisServer) -> None:
    async with living(server.url) as (one,):
        await one.works()
        one.listen("inbox")
        await until(lambda: one.heard["inbox"] == 1)
        one.bell.forget("inbox")
        one.listen("inbox")
        await until(lambda: one.heard["inbox"] == 2)
        one.bell.ring("inbox")
        await until(lambda: one.heard["inbox"] == 3)


async def test_rings_that_wait_are_one(server: RedisServer) -> None:
    async with living(server.url) as (listener,):
        listener.listen("inbox")
        listener.listen("last")
        await listener.works()
        life = Life(server.url)
        for _ in range(100):
            life.bell.ring("inbox")
        life.bell.ring("last")
        task = asyncio.create_task(life.bell.run())
        await until(lambda: listener.heard["last"] == 2)
        assert listener.heard["inbox"] == 2
        task.cancel()


async def test_what_was_rung_for_may_fail(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("of the listener")

    async with living(server.url) as (one,):
        one.bell.listen("broken", fails)
        one.listen("inbox")
        await one.works()
        one.bell.ring("broken")
        one.bell.ring("inbox")
        await until(lambda: one.heard["inbox"] == 2)
        assert one.bell.works
        assert one.states == [True]
    assert "of the listener" in caplog.text


async def test_it_does_not_work_before_it_was_proven_and_leaves_nothing_open(server: RedisServer) -> None:
    life = Life(server.url)
    life.bell.ring("early")
    life.listen("early")
    assert not life.bell.works
    assert server.clients() == 0, "it connects when it runs"
    task = asyncio.create_task(life.bell.run())
    await life.works()
    assert server.clients() == 2
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert life.states == [True, False]
    await until(lambda: server.clients() == 0)


# --- What breaks ----------------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_and_started_again(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with living(*[server.url] * 2) as (one, two):
        two.listen("inbox")
        two.listen("news")
        await one.works()
        await two.works()
        server.kill()
        await one.fails()
        await two.fails()
        one.bell.ring("inbox")
        server.start()
        await one.works()
        await two.works()
        assert two.heard["news"] == 2, "what rang meanwhile was not heard"
        assert two.heard["inbox"] >= 2
        one.bell.ring("news")
        await until(lambda: two.heard["news"] == 3)
        assert one.states == two.states == [True, False, True]
    assert len(_warnings(caplog)) == 2, "one for each bell"
    assert len(_infos(caplog)) == 4


async def test_a_server_that_stands_still_holds_nobody_up(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(*[server.url] * 2) as (one, two):
        two.listen("inbox")
        await one.works()
        await two.works()
        server.stall()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(20 * MOST_PENDING):
            one.bell.ring(f"many:{number}")
            if number % MOST_PENDING == 0:
                await asyncio.sleep(0)
        assert loop.time() - began < 10
        assert len(one.bell._pending) <= MOST_PENDING
        await one.fails()
        await two.fails()
        one.bell.ring("inbox")
        server.resume()
        await one.works()
        await two.works()
        assert two.heard["inbox"] >= 2
        before = two.heard["inbox"]
        one.bell.ring("inbox")
        await until(lambda: two.heard["inbox"] > before)
    assert len([line for line in _warnings(caplog) if "are dropped" in line]) == 1
    assert len([line for line in _warnings(caplog) if "does not work" in line]) == 2


async def test_a_server_that_is_not_there_yet(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.kill()
    async with living(server.url) as (one,):
        await until(lambda: _warnings(caplog))
        # Long enough for another attempt, of which nothing is said.
        await asyncio.sleep(4.5)
        assert one.states == []
        assert len(_warnings(caplog)) == 1
        assert f"127.0.0.1:{server.port}" in caplog.text
        server.start()
        await one.works()


async def test_a_password_that_is_refused(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.ask("CONFIG", "SET", "requirepass", "another")
    async with living(server.url) as (one,):
        await until(lambda: _warnings(caplog))
        assert "password" in _warnings(caplog)[0]
        assert one.states == []
        await asyncio.to_thread(_set_password, server)
        await one.works()


def _set_password(server: RedisServer) -> None:
    subprocess.run(
        [
            "redis-cli",
            "-p",
            str(server.port),
            "--no-auth-warning",
            "-a",
            "another",
            "config",
            "set",
            "requirepass",
            PASSWORD,
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


async def test_a_server_that_tells_what_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    """As one does that knows no AUTH."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode())
        writer.write(f"-ERR no such user: {PASSWORD}\r\n".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answers, "127.0.0.1", free_port())
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        async with living(f"redis://ann:{QUOTED}@127.0.0.1:{port}") as (one,):
            await until(lambda: _warnings(caplog))
            assert not one.bell.works
    assert "unknown command" in caplog.text


async def test_a_user_who_may_listen_and_not_ring(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """With what ``docs/streams.md`` has a user allowed, it works."""
    (allowed,) = re.findall(r"`ACL SETUSER bell (on [^`]*)`", (ROOT / "docs" / "streams.md").read_text())
    server.ask("ACL", "SETUSER", "ann", *allowed.replace(">password", ">secret").replace(" +publish", "").split())
    async with living(f"redis://ann:secret@127.0.0.1:{server.port}") as (one,):
        await until(lambda: _warnings(caplog))
        assert one.states == []
        server.ask("ACL", "SETUSER", "ann", "+publish")
        await one.works()
        one.listen(news_channel())
        await until(lambda: one.heard[news_channel()] == 1)
        one.bell.forget(news_channel())
        await until(lambda: not server.ask("PUBSUB", "CHANNELS", news_channel()))
        assert one.states == [True]
    assert "secret" not in caplog.text


async def test_a_way_out_that_does_not_lead_back(
    start: Starter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both servers are well, and what is published at one is not heard at the other."""
    servers = cycle([start(), start()])
    monkeypatch.setattr(redis_bell, "connection_of", lambda _: connection_of(next(servers).url))
    async with living("redis://one-of-two") as (one,):
        await until(lambda: _warnings(caplog))
        assert "no answer in time" in _warnings(caplog)[0]
        assert one.states == []


async def test_a_subscription_that_is_cut_off(server: RedisServer) -> None:
    async with living(server.url) as (one,):
        one.listen("inbox")
        await one.works()
        assert server.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        await until(lambda: one.states == [True, False, True])
        assert one.heard["inbox"] == 2
        await until(lambda: server.clients() == 2)


async def test_a_loop_that_stood_still_is_no_fault_of_redis(server: RedisServer) -> None:
    async with living(*[server.url] * 2) as (one, two):
        await one.works()
        await two.works()
        for _ in range(2):
            time.sleep(PROOF_SECONDS + 2 * LATE_SECONDS)
            await asyncio.sleep(0.5)
        one.listen("inbox")
        await until(lambda: one.heard["inbox"] == 1)
        assert one.states == two.states == [True]


async def test_what_comes_and_goes_while_it_is_away_is_not_kept(server: RedisServer) -> None:
    async with living(server.url) as (one,):
        await one.works()
        one.listen("inbox")
        server.kill()
        await one.fails()
        for number in range(1000):
            one.listen(f"stream:{number}")
            one.bell.forget(f"stream:{number}")
        assert not one.bell._to_unsubscribe
        assert one.bell._to_subscribe <= {"inbox"}


async def test_a_primary_that_became_a_replica(start: Starter, caplog: pytest.LogCaptureFixture) -> None:
    """As after a failover: it publishes to who is connected to it, and to nobody at its primary."""
    first, second = start(), start()
    async with living(first.url) as (one,):
        await one.works()
        first.ask("REPLICAOF", "127.0.0.1", second.port)
        await one.fails()
        assert "it is a replica" in _warnings(caplog)[0]
        first.ask("REPLICAOF", "NO", "ONE")
        await one.works()


async def test_a_server_that_is_full_rings_all_the_same(server: RedisServer) -> None:
    server.ask("SET", "filler", "x" * 100_000)
    server.ask("CONFIG", "SET", "maxmemory", 1)
    async with living(server.url) as (one,):
        await one.works()


async def test_a_socket_of_this_machine(start: Starter, tmp_path: Path) -> None:
    start("--unixsocket", str(tmp_path / "redis.sock"))
    async with living(f"unix://:{QUOTED}@{tmp_path / 'redis.sock'}") as (one,):
        await one.works()


async def test_over_tls_the_certificate_is_checked(
    start: Starter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    port = free_port()
    start(
        *("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
    )
    url = f"rediss://:{QUOTED}@127.0.0.1:{port}"
    async with living(f"{url}?ssl_ca_certs={certificate}", url) as (trusting, other):
        await trusting.works()
        await until(lambda: _warnings(caplog))
        assert other.states == []
        assert "certificate verify failed" in _warnings(caplog)[0]


# --- Which bell -----------------------------------------------------------------------------------------------


async def test_without_a_url_nothing_rings(settings: Settings) -> None:
    settings.BUS_URL = ""
    bell = chosen_bell(lambda works: pytest.fail("it never works"))
    assert isinstance(bell, NoBell)
    bell.listen("inbox", lambda: pytest.fail("nothing rings"))
    bell.ring("inbox")
    bell.forget("inbox")
    task = asyncio.create_task(bell.run())
    await asyncio.sleep(0.01)
    assert not bell.works
    assert not task.done()
    task.cancel()


def test_without_a_url_redis_is_not_imported() -> None:
    script = (
        "import django, sys; django.setup();"
        "from django.core.checks import run_checks; run_checks();"
        "from mcpsite.endpoint.peers.bell import chosen_bell; chosen_bell(print);"
        "import mcpsite.endpoint.views;"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'redis'], 'redis is imported'"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "BUS_URL": ""}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@127.0.0.1",
        "redis://:hid[den@127.0.0.1",
        "http://:hidden@127.0.0.1",
        "redis://:hidden@127.0.0.1:many",
        "redis://:hidden@127.0.0.1?ssl_min_version=hidden",
        "redis://:hidden@127.0.0.1?no_such_option=hidden",
        "unix://:hidden@",
        "hidden",
    ],
)
def test_a_url_that_is_none_is_refused_without_a_word_of_it(settings: Settings, url: str) -> None:
    settings.BUS_URL = url
    with pytest.raises(CannotRing) as raised:
        chosen_bell(print)
    said = f"{raised.value} {raised.value.hint}"
    assert "BUS_URL cannot be used" in said
    assert "redis://user:password@host:6379" in said
    assert "hid" not in said
    assert raised.value.__suppress_context__


def test_without_its_extra_it_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BUS_URL = f"redis://:{QUOTED}@127.0.0.1"
    for name in ("redis_bell", "redis_connection"):
        monkeypatch.delitem(sys.modules, f"mcpsite.endpoint.peers.{name}")
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    with pytest.raises(CannotRing, match="redis cannot be imported") as raised:
        chosen_bell(print)
    assert "pip install 'mcp-sessions[bell]'" in raised.value.hint


def test_channels_are_of_one_deployment(settings: Settings) -> None:
    settings.AWS_REGION, settings.DYNAMODB_EVENTS_TABLE = "eu-west-1", "events"
    assert inbox_channel("0123") == "mcp:eu-west-1:events:inbox:0123"
    assert news_channel() == "mcp:eu-west-1:events:news"
    assert stream_channel("s.1") == "mcp:eu-west-1:events:stream:s.1"
