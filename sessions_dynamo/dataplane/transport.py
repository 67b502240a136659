"""One POST over aiohttp, whose failures are botocore's. It knows neither signatures nor DynamoDB."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
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
from sessions_dynamo.dataplane.endpoint import Proxy

KEEP_ALIVE_SECONDS: Final = 45.0
"""DynamoDB closes what idles for 60 s or more; a new connection costs a whole TLS handshake."""


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
        self._url = url
        self._proxy = proxy
        headers = {"Accept-Encoding": "identity", "User-Agent": user_agent}
        through = None
        if proxy is not None:
            if url.startswith("https:"):
                through = dict(proxy.headers)
            else:
                headers |= proxy.headers
        self._options = {"proxy": None if proxy is None else proxy.url, "proxy_headers": through}
        self._session = aiohttp.ClientSession(
            headers=headers,
            skip_auto_headers=("Accept",),
            cookie_jar=aiohttp.DummyCookieJar(),
            # What it would read of the environment is botocore's to say; its .netrc would break a signature.
            trust_env=False,
            # The checksum is of the bytes on the wire.
            auto_decompress=False,
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                resolver=aiohttp.ThreadedResolver(),
                ssl=True if tls is None else tls,
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                # With the wait for a free connection and for a name's address.
                connect=connect_seconds + read_seconds,
                sock_connect=connect_seconds,
                sock_read=read_seconds,
            ),
        )

    async def post(self, headers: Mapping[str, str], body: bytes) -> Received:
        """What was answered, whatever its status. Raises ``Failure`` with botocore's exception. A task that is
        cancelled meanwhile closes its connection; the server may have done what was asked."""
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                **self._options,  # type: ignore[arg-type]
            ) as answer:
                return Received(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, OSError) as exc:
            raise Failure(self._as_botocore(exc)) from exc

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def _as_botocore(self, exc: Exception) -> BotoCoreError:
        match exc:
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                return ProxyConnectionError(proxy_url=self._proxy.url if self._proxy else "", error=exc)
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return SSLError(endpoint_url=self._url, error=exc)
            case aiohttp.ConnectionTimeoutError():
                return ConnectTimeoutError(endpoint_url=self._url, error=exc)
            case asyncio.TimeoutError():
                return ReadTimeoutError(endpoint_url=self._url, error=exc)
            case aiohttp.ClientConnectorError():
                return EndpointConnectionError(endpoint_url=self._url, error=exc)
            case (
                aiohttp.ClientConnectionError()
                | aiohttp.ClientPayloadError()
                | aiohttp.ClientResponseError()
                | ConnectionError()
            ):
                return ConnectionClosedError(endpoint_url=self._url, error=exc)
            case _:
                return HTTPClientError(error=exc)
