"""A connection by way of an HTTP proxy; to a TLS server in a tunnel that it opens (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from sessions_dynamo.dataplane.connection import Connection
from sessions_dynamo.dataplane.endpoint import Proxy

MAX_HEAD_BYTES: Final = 64 * 1024


class ProxyRefused(Exception):
    """The proxy opened no tunnel."""


async def through(proxy: Proxy, target: tuple[str, int, ssl.SSLContext] | None, connection: Connection) -> None:
    """Connect by a proxy: to the proxy itself, which is asked for whole URLs, or to a ``target`` behind TLS.

    Raises ``OSError`` and ``ProxyRefused``.
    """
    loop = asyncio.get_running_loop()
    parts = urlsplit(proxy.url)
    name, port = parts.hostname or "", parts.port or (443 if proxy.tls else 80)
    if target is None:
        await loop.create_connection(lambda: connection, name, port, ssl=proxy.tls)
        return
    host, target_port, tls = target
    transport, opening = await loop.create_connection(lambda: _Opening(loop), name, port, ssl=proxy.tls)
    try:
        authority = f"[{host}]:{target_port}" if ":" in host else f"{host}:{target_port}"
        lines = {"Host": authority, **proxy.headers}
        head = f"CONNECT {authority} HTTP/1.1\r\n" + "".join(f"{field}: {value}\r\n" for field, value in lines.items())
        transport.write(f"{head}\r\n".encode("latin-1"))
        await opening.opened
        inner = await loop.start_tls(transport, connection, tls, server_hostname=host)
        if inner is None:
            raise ProxyRefused("the proxy closed the connection")
    except BaseException as exc:
        # Before Python 3.13 a TLS connection inside one that fails, or is closed already, trips over itself.
        with suppress(AttributeError, TypeError):
            transport.abort()
        if isinstance(exc, AttributeError | TypeError):
            raise ProxyRefused(f"no TLS through the proxy: {exc.__context__ or exc}") from exc
        raise
    connection.connection_made(inner)


class _Opening(asyncio.Protocol):
    """Reads the proxy's answer to CONNECT; what comes behind it is the server's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            version, _, rest = self._head.partition(b"\r\n")[0].partition(b" ")
            if version.startswith(b"HTTP/1.") and rest.startswith(b"2"):
                self._end(None)
            else:
                self._end(ProxyRefused(f"the proxy answered {rest[:100].decode('latin-1')}"))
        elif len(self._head) > MAX_HEAD_BYTES:
            self._end(ProxyRefused("the proxy's answer has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc if isinstance(exc, OSError) else ProxyRefused("the proxy closed the connection"))

    def _end(self, failure: Exception | None) -> None:
        if self.opened.done():
            return
        if failure is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(failure)
