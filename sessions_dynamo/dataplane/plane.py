"""One loop's way to the DynamoDB of one region: signed from a snapshot, sent, tried again, understood."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sessions_dynamo import client
from sessions_dynamo.dataplane.answers import Answers
from sessions_dynamo.dataplane.attempts import Failure
from sessions_dynamo.dataplane.credentials import CredentialKeeper
from sessions_dynamo.dataplane.endpoint import Endpoint, Proxy, endpoint_of, proxy_of, tls_of
from sessions_dynamo.dataplane.observers import Asked, observers
from sessions_dynamo.dataplane.retries import Retries
from sessions_dynamo.dataplane.signing import Signer
from sessions_dynamo.dataplane.threads import beside
from sessions_dynamo.dataplane.transport import Transport

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_TARGET: Final = "DynamoDB_20120810."
_EXPIRED: Final = frozenset({"ExpiredTokenException", "ExpiredToken"})


def _no_json(value: object) -> NoReturn:
    raise TypeError(f"A request holds texts, numbers, lists and maps, no {type(value).__name__}")


# Made once: ``json.dumps`` with options makes one at every call.
_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_no_json).encode


@dataclass(frozen=True, slots=True)
class _Way:
    """What the configuration says of the way, found in a thread."""

    access: client.Access
    endpoint: Endpoint
    proxy: Proxy | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What sends: each knows its own part."""

    keeper: CredentialKeeper
    signer: Signer
    transport: Transport
    answers: Answers
    retries: Retries


class DataPlane:
    """DynamoDB in one region for the loop that it is made on, with the endpoint and credentials that boto3 has.

    It looks for them at ``start`` or at its first request, in a thread; ``close`` ends it.
    """

    def __init__(self, region: str | None = None) -> None:
        """``region`` defaults to the service's own."""
        self._asked_region = region
        self._loop = asyncio.get_running_loop()
        self._parts: _Parts | None = None
        self._opening: asyncio.Task[_Parts] | None = None
        self._endpoint: Endpoint | None = None
        self._closed = False

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it sends to; none before it has started."""
        return self._endpoint

    async def start(self) -> None:
        """Look for the endpoint and the credentials, so that no request waits for that. Raises as ``request``."""
        parts = self._parts or await self._open()
        await parts.keeper.valid()

    async def request(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, as boto3 gives it; ``action`` is DynamoDB's name, such as ``GetItem``.

        Values are JSON: texts, numbers, booleans, lists, maps; ``TypeError`` for bytes and whatever else. Raises
        botocore's exceptions: ``ClientError``, ``EndpointConnectionError``, ``ReadTimeoutError``,
        ``NoCredentialsError``, ...; besides, where boto3 would return it, ``ChecksumError`` for an answer that was
        damaged in each attempt. ``CredentialsMissing`` where no region or profile is usable.
        """
        body = _encode(parameters).encode()
        parts = self._parts or await self._open()
        for observer in observers():
            assert self._endpoint is not None
            observer(Asked(action, parameters, self._endpoint.region))
        keeper, target = parts.keeper, _TARGET + action
        attempt, renewed = 1, False
        context: dict[str, Any] = {}
        while True:
            now = time.time()
            keys = keeper.keys
            if keys is None or now >= keeper.check_at:
                keys = await keeper.valid()
                now = time.time()
            try:
                received = await parts.transport.post(parts.signer.headers(keys, target, body, now), body)
                answer = parts.answers.read(action, received)
            except Failure as exc:
                failure = exc
            else:
                parts.retries.succeeded(action, context)
                answer["ResponseMetadata"]["RetryAttempts"] = attempt - 1
                return answer
            if not renewed and failure.code in _EXPIRED:
                renewed = True
                if await keeper.replaced(keys):
                    attempt += 1
                    continue
            pause = parts.retries.pause(action, attempt, failure, context)
            if pause is None:
                raise parts.answers.exception(action, failure, attempt - 1) from failure.__cause__
            await asyncio.sleep(pause)
            attempt += 1

    def drop_idle(self) -> None:
        """Close the connections that nothing uses: the next request opens one."""
        if self._parts is not None:
            self._parts.transport.drop_idle()

    async def close(self) -> None:
        """Close the connections and end what renews credentials; a request after it is a ``RuntimeError``."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if (parts := self._parts) is not None:
            self._parts = None
            await parts.keeper.close()
            await parts.transport.close()

    async def _open(self) -> _Parts:
        """The parts, made once for all who wait; a try that fails is left to the next request."""
        if self._closed:
            raise RuntimeError("The data plane is closed")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("A data plane serves the loop that it was made on")
        if self._opening is None:
            self._opening = asyncio.create_task(self._make(), name="dataplane")
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        await asyncio.wait([opening])
        if opening.cancelled():
            raise RuntimeError("The data plane is closed")
        return opening.result()

    def _opened(self, opening: asyncio.Task[_Parts]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # Whoever waits has it; where all were cancelled, nobody asks for it.

    async def _make(self) -> _Parts:
        way = await beside(self._find_way)
        config: Any = way.access.client.meta.config
        self._endpoint = way.endpoint
        self._parts = _Parts(
            CredentialKeeper(way.access.credentials, self._look_up_anew),
            Signer(host=way.endpoint.host, path=way.endpoint.path, region=way.endpoint.region),
            Transport(
                way.endpoint.url,
                proxy=way.proxy,
                tls=way.tls,
                connect_seconds=config.connect_timeout,
                read_seconds=config.read_timeout,
                connections=config.max_pool_connections,
                user_agent=config.user_agent,
            ),
            Answers(way.access.client, way.endpoint.url),
            Retries(way.access.client),
        )
        return self._parts

    def _find_way(self) -> _Way:
        access = client.dynamodb_access(self._asked_region)
        endpoint = endpoint_of(access.client)
        tls = tls_of(access.ca_bundle) if endpoint.url.startswith("https:") else None
        return _Way(access, endpoint, proxy_of(access.client, endpoint.url, access.ca_bundle), tls)

    def _look_up_anew(self) -> Credentials | None:
        return client.dynamodb_access(self._asked_region).credentials()
