"""One POST to one URL over connections that are kept, whose failures are botocore's. It knows no signature."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from sessions_dynamo.dataplane.attempts import Failure, Received
from sessions_dynamo.dataplane.connection import Broken, Connection, Silent
from sessions_dynamo.dataplane.endpoint import Proxy
from sessions_dynamo.dataplane.tunnel import ProxyRefused, through

_PORTS = {"http": 80, "https": 443}
HAPPY_EYEBALLS_SECONDS = 0.25
"""Before the next of a name's addresses is tried beside the one before (RFC 8305, section 5)."""


class Transport:
    """The connections of one loop to one URL. Made on the loop that uses it."""

    def __init__(
        self,
        url: str,
        *,
        proxy: Proxy | None,
        tls: ssl.SSLContext | None,
        connect_seconds: float,
        read_seconds: float,
        connections: int,
        user_agent: str,
    ) -> None:
        """``tls`` is of an ``https`` URL."""
        self._url, self._proxy, self._tls = url, proxy, tls
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._loop = asyncio.get_running_loop()
        # uvloop has none.
        has_eyeballs = isinstance(self._loop, asyncio.BaseEventLoop)
        self._eyeballs: dict[str, Any] = {"happy_eyeballs_delay": HAPPY_EYEBALLS_SECONDS} if has_eyeballs else {}
        self._free = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        """The last is the one that was used last: those at the other end grow old."""
        self._connections: set[Connection] = set()
        self._closed = False
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        # The checksum is of the bytes on the wire.
        lines = {"Accept-Encoding": "identity", "User-Agent": user_agent}
        target = parts.path or "/"
        if proxy is not None and tls is None:
            target = url
            lines |= proxy.headers
        self._head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    async def post(self, headers: Mapping[str, str], body: bytes) -> Received:
        """What was answered, whatever its status; ``headers`` have the ``Host``, not the body's length.

        Raises ``Failure`` with botocore's exception. A task that is cancelled meanwhile closes its connection; the
        server may have done what was asked.
        """
        request = self._encoded(headers, len(body)) + body
        try:
            await self._take_turn()
            try:
                connection = self._kept() or await self._connect()
                received = await connection.exchange(request)
                if connection.is_open:
                    self._idle.append(connection)
            finally:
                self._free.release()
        except (Broken, Silent) as exc:
            kind = ReadTimeoutError if isinstance(exc, Silent) else ConnectionClosedError
            raise Failure(kind(endpoint_url=self._url, error=exc)) from exc
        return received

    def drop_idle(self) -> None:
        """Close the connections that nothing uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        lost = [connection.lost for connection in self._connections]
        for connection in self._connections:
            connection.abort()
        if lost:
            await asyncio.wait(lost)

    def _encoded(self, headers: Mapping[str, str], length: int) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        try:
            if not lines.count("\n") == lines.count("\r") == len(headers) or "\0" in lines:
                raise ValueError("A header has a line break in it: look at the credentials")
            return f"{self._head}{lines}Content-Length: {length}\r\n\r\n".encode("latin-1")
        except ValueError as exc:
            raise Failure(HTTPClientError(error=exc)) from exc

    async def _take_turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._connect_seconds + self._read_seconds):
                await self._free.acquire()
        except TimeoutError as exc:
            raise Failure(ConnectTimeoutError(endpoint_url=self._url, error=exc)) from exc

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> Connection:
        try:
            self._refuse_closed()
            async with asyncio.timeout(self._connect_seconds):
                connection = await self._open()
        except (OSError, ProxyRefused, ValueError) as exc:
            # A ValueError: a name that is none (IDNA).
            raise Failure(self._unreachable(exc)) from exc
        if self._closed:
            connection.abort()
            self._refuse_closed()
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        return connection

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Broken("the connections were closed")

    async def _open(self) -> Connection:
        connection = Connection(self._loop, self._read_seconds)
        if self._proxy is None:
            await self._loop.create_connection(
                lambda: connection,
                self._host,
                self._port,
                ssl=self._tls,
                **self._eyeballs,
            )
        else:
            target = None if self._tls is None else (self._host, self._port, self._tls)
            await through(self._proxy, target, connection)
        return connection

    def _unreachable(self, exc: Exception) -> BotoCoreError:
        if isinstance(exc, ssl.SSLError):
            return SSLError(endpoint_url=self._url, error=exc)
        if isinstance(exc, TimeoutError):
            return ConnectTimeoutError(endpoint_url=self._url, error=exc)
        if self._proxy is not None:
            return ProxyConnectionError(proxy_url=self._proxy.url, error=exc)
        return EndpointConnectionError(endpoint_url=self._url, error=exc)
