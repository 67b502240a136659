"""Connections: kept, replaced, encrypted, through a proxy, cancelled and closed."""

from __future__ import annotations

import asyncio
import base64
import gc
import ipaddress
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError, ProxyConnectionError, ReadTimeoutError, SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django import Settings

from sessions_dynamo import client
from sessions_dynamo.dataplane import connection
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop, plane_of_this_loop
from sessions_dynamo.dataplane.plane import DataPlane
from tests.engines import free_port
from tests.sessions_dynamo.dataplane.servers import Seen, Server, answer, cuts, sends, serving, stalls
from tests.sessions_dynamo.dataplane.support import GET, plane, until

OK_BYTES = answer({"Item": {"id": {"S": "one"}}})
OK = sends(OK_BYTES)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(OK) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running


async def test_a_connection_serves_many_requests(server: Server) -> None:
    async with plane() as ours:
        for _ in range(5):
            await ours.request("GetItem", GET)
    assert (len(server.seen), server.connections) == (5, 1)


async def test_an_idle_connection_that_was_closed_is_replaced_unseen(server: Server) -> None:
    async with plane() as ours:
        await ours.request("GetItem", GET)
        server.drop_connections()
        await until(lambda: not server.open)
        await asyncio.sleep(0.01)  # The loop hears of it.
        answered = await ours.request("GetItem", GET)
    assert answered["ResponseMetadata"]["RetryAttempts"] == 0
    assert server.connections == 2


async def test_one_that_was_closed_while_the_loop_was_blocked_costs_a_retry_at_most(server: Server) -> None:
    async with plane() as ours:
        await ours.request("GetItem", GET)
        server.drop_connections()
        while server.open:
            time.sleep(0.001)
        answered = await ours.request("GetItem", GET)
    assert answered["Item"] == {"id": {"S": "one"}}
    assert answered["ResponseMetadata"]["RetryAttempts"] <= 1


async def test_a_request_that_was_read_and_not_answered_is_sent_again_by_the_rules_alone(server: Server) -> None:
    """Not unseen by the transport: the write may have been done, and each further one is botocore's to allow."""
    async with plane() as ours:
        await ours.request("UpdateItem", GET)
        server.script = [OK, cuts(), OK]
        answered = await ours.request("UpdateItem", GET)
    assert answered["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(server.seen) == 3


async def test_a_connection_is_dropped_before_dynamodb_drops_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 30 <= connection.KEEP_ALIVE_SECONDS <= 50
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.2)
    async with plane() as ours:
        await ours.request("GetItem", GET)
        assert server.open
        await until(lambda: not server.open, seconds=10)
        assert (await ours.request("GetItem", GET))["ResponseMetadata"]["RetryAttempts"] == 0
    assert server.connections == 2


@pytest.mark.parametrize("surplus", [b"x", OK_BYTES, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])
async def test_what_nobody_asked_for_is_nobodys_answer(server: Server, surplus: bytes) -> None:
    server.script = [sends(OK_BYTES + surplus), OK]
    async with plane() as ours:
        for _ in range(3):
            assert (await ours.request("GetItem", GET))["Item"] == {"id": {"S": "one"}}
            await asyncio.sleep(0.02)
    assert (len(server.seen), server.connections) == (3, 2)


async def test_who_waits_for_a_connection_may_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONFIG", client._CONFIG.merge(Config(max_pool_connections=1)))
    server.script = [stalls(), OK]
    async with plane() as ours:
        first, second, third = (asyncio.create_task(ours.request("GetItem", GET)) for _ in range(3))
        await until(lambda: server.seen)
        second.cancel()
        await asyncio.sleep(0)
        first.cancel()
        assert (await third)["Item"] == {"id": {"S": "one"}}
        assert (await ours.request("GetItem", GET))["Item"] == {"id": {"S": "one"}}
    assert second.cancelled()


async def test_waiting_for_a_free_connection_is_no_failure_to_connect(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = client._CONFIG.merge(Config(connect_timeout=0.3, read_timeout=10, max_pool_connections=1))
    monkeypatch.setattr(client, "_CONFIG", config)

    def slowly(connection: socket.socket, seen: Seen) -> bool:
        time.sleep(0.25)
        return OK(connection, seen)

    server.script = [slowly]
    async with plane() as ours:
        answers = await asyncio.gather(*(ours.request("GetItem", GET) for _ in range(4)))
    assert [each["ResponseMetadata"]["RetryAttempts"] for each in answers] == [0, 0, 0, 0]
    assert (len(server.seen), server.connections) == (4, 1)


async def test_nobody_waits_for_a_connection_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Config(max_pool_connections=1, connect_timeout=0.2, read_timeout=0.6, retries={"total_max_attempts": 1})
    monkeypatch.setattr(client, "_CONFIG", client._CONFIG.merge(short))
    server.script = [stalls()]
    async with plane() as ours:
        waiting = [asyncio.create_task(ours.request("GetItem", GET)) for _ in range(3)]
        failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(failure) for failure in failures} == {ReadTimeoutError, ConnectTimeoutError}


@pytest.mark.usefixtures("impatient")
async def test_a_host_that_takes_no_connection_is_told_as_boto3_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full, ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{full.getsockname()[1]}")
        async with plane() as ours:
            with pytest.raises(ConnectTimeoutError):
                await ours.request("GetItem", GET)
        with pytest.raises(ConnectTimeoutError):
            client.dynamodb().get_item(**GET)  # type: ignore[arg-type]


async def test_more_requests_than_connections_wait_their_turn(server: Server) -> None:
    limit = client._CONFIG.max_pool_connections  # type: ignore[attr-defined]
    async with plane() as ours:
        await asyncio.gather(*(ours.request("GetItem", GET) for _ in range(3 * limit)))
    assert len(server.seen) == 3 * limit
    assert server.connections <= limit


async def test_cancelled_in_flight_the_connection_is_closed_and_the_next_request_works(server: Server) -> None:
    server.script = [stalls(), OK]
    async with plane() as ours:
        task = asyncio.create_task(ours.request("GetItem", GET))
        await until(lambda: server.seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not server.open, seconds=3)
        assert (await ours.request("GetItem", GET))["Item"] == {"id": {"S": "one"}}
    assert (len(server.seen), server.connections) == (2, 2)


async def test_cancelled_while_it_starts_it_starts_for_the_others(server: Server) -> None:
    async with plane() as ours:
        first, second = (asyncio.create_task(ours.request("GetItem", GET)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)["Item"] == {"id": {"S": "one"}}
        assert first.cancelled()


async def test_a_start_that_fails_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with plane() as ours:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "no url")
        with pytest.raises(ValueError, match="Invalid endpoint"):
            await ours.request("GetItem", GET)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        await ours.request("GetItem", GET)


def test_two_loops_in_two_threads_have_a_plane_each(server: Server) -> None:
    found: list[DataPlane] = []
    both = threading.Barrier(2)

    async def use() -> None:
        mine = plane_of_this_loop()
        assert plane_of_this_loop() is mine
        assert plane_of_this_loop("us-west-2") is not mine
        both.wait(20)
        for _ in range(20):
            await mine.request("GetItem", GET)
        found.append(mine)
        await close_planes_of_this_loop()
        assert plane_of_this_loop() is not mine

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({id(each) for each in found}) == 2
    assert len(server.seen) == 40


def test_a_plane_serves_no_other_loop(server: Server) -> None:
    async def make() -> DataPlane:
        return DataPlane()

    strange = asyncio.run(make())

    async def use() -> None:
        with pytest.raises(RuntimeError, match="loop that it was made on"):
            await strange.request("GetItem", GET)

    asyncio.run(use())


def test_other_settings_make_another_plane(server: Server, settings: Settings) -> None:
    async def use() -> None:
        before = plane_of_this_loop()
        await before.request("GetItem", GET)
        settings.AWS_REGION = "us-west-2"
        after = plane_of_this_loop()
        assert after is not before
        await after.request("GetItem", GET)
        with pytest.raises(RuntimeError, match="closed"):
            await before.request("GetItem", GET)
        await close_planes_of_this_loop()

    asyncio.run(use())
    assert ["us-west-2" in seen.headers["authorization"] for seen in server.seen] == [False, True]


@pytest.mark.parametrize("encrypted", [False, True])
def test_closed_it_leaves_nothing_behind(encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", authority.bundle)
    complaints: list[object] = []

    async def use() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        loop.set_debug(True)
        async with plane() as ours:
            await asyncio.gather(*(ours.request("GetItem", GET) for _ in range(4)))
            assert peer.open
        with pytest.raises(RuntimeError, match="closed"):
            await ours.request("GetItem", GET)
        await ours.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await until(lambda: not peer.open)

    with serving(OK, tls=authority.context() if encrypted else None) as peer, warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setenv("AWS_ENDPOINT_URL", peer.url)
        asyncio.run(use())
        gc.collect()
    assert complaints == []


# --- TLS ------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate for 127.0.0.1 that signs itself."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(key, hashes.SHA256())
        )
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self._key = folder / "key.pem"
        self.bundle = str(folder / "ca.pem")

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.bundle, self._key)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_tls_against_a_bundle(variable: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK, tls=authority.context()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv(variable, authority.bundle)
        async with plane() as ours:
            assert (await ours.request("GetItem", GET))["Item"] == {"id": {"S": "one"}}
        assert client.dynamodb().get_item(**GET)["Item"] == {"id": {"S": "one"}}  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls_that_cannot_be_believed(host: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for; one for another name."""
    with serving(OK, tls=authority.context()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("127.0.0.1", host))
        if host == "localhost":
            monkeypatch.setenv("AWS_CA_BUNDLE", authority.bundle)
        async with plane() as ours:
            with pytest.raises(SSLError):
                await ours.request("GetItem", GET)
        with pytest.raises(SSLError):
            client.dynamodb().get_item(**GET)  # type: ignore[arg-type]
        assert server.seen == []


async def test_a_bundle_that_is_not_there(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    async with plane() as ours:
        with pytest.raises(OSError, match="No such file"):
            await ours.request("GetItem", GET)


# --- Proxies --------------------------------------------------------------------------------------------------

REFUSED = sends(answer(b"", 407, crc=None))


def tunnels(connection: socket.socket, seen: Seen) -> bool:
    """Opens the tunnel that CONNECT asks for."""
    host, _, port = seen.target.partition(":")
    with socket.create_connection((host, int(port))) as upstream:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pump, args=(upstream, connection), daemon=True).start()
        _pump(connection, upstream)
    return False


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


async def test_a_proxy_before_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://dynamodb.invalid:8000")
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        async with plane() as ours:
            await ours.request("GetItem", GET)
        client.dynamodb().get_item(**GET)  # type: ignore[arg-type]
    assert {seen.target for seen in proxy.seen} == {"http://dynamodb.invalid:8000/"}
    assert {seen.headers["host"] for seen in proxy.seen} == {"dynamodb.invalid:8000"}
    assert proxy.seen[0].headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()


async def test_a_proxy_before_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK, tls=authority.context()) as server, serving(tunnels) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", authority.bundle)
        monkeypatch.setenv("HTTPS_PROXY", f"user:secret@127.0.0.1:{proxy.port}")
        async with plane() as ours:
            await ours.request("GetItem", GET)
            await ours.request("GetItem", GET)
        (tunnel,) = proxy.seen
        assert (tunnel.method, tunnel.target) == ("CONNECT", server.url.removeprefix("https://"))
        assert tunnel.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
        assert "x-amz-date" not in tunnel.headers
        assert all("proxy-authorization" not in seen.headers for seen in server.seen)


@pytest.mark.parametrize("target", ["right", "wrong", "closes"])
async def test_a_proxy_that_is_spoken_to_in_tls(
    target: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    strange = Authority(tmp_path / "other")
    theirs = strange if target == "wrong" else authority
    opens = cuts(b"HTTP/1.1 200 OK\r\n\r\n") if target == "closes" else tunnels
    with serving(OK, tls=theirs.context()) as server, serving(opens, tls=authority.context()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", authority.bundle)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with plane() as ours:
            if target == "right":
                assert (await ours.request("GetItem", GET))["Item"] == {"id": {"S": "one"}}
            else:
                with pytest.raises((ProxyConnectionError, SSLError)):
                    await ours.request("GetItem", GET)


async def test_no_proxy_before_a_host_that_is_excepted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with plane() as ours:
        await ours.request("GetItem", GET)
    assert len(server.seen) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", ["absent", "refuses"])
async def test_a_proxy_that_fails(scheme: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(REFUSED) as running:
        port = running.port if proxy == "refuses" else free_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://dynamodb.invalid:8000")
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(Exception) as theirs:  # noqa: PT011
            client.dynamodb().get_item(**GET)  # type: ignore[arg-type]
        async with plane() as ours:
            with pytest.raises(type(theirs.value)) as raised:
                await ours.request("GetItem", GET)
    assert type(raised.value) is type(theirs.value)
    if (scheme, proxy) != ("http", "refuses"):
        assert isinstance(raised.value, ProxyConnectionError)


async def test_the_netrc_file_is_not_read(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with plane() as ours:
        await ours.request("GetItem", GET)
    assert server.seen[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
