"""The rules of trying again: attempts, pauses and the token bucket are botocore's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.retries.quota import RetryQuota

from sessions_dynamo import client
from tests.sessions_dynamo.dataplane.servers import Play, answer, cuts, error, sends, serving
from tests.sessions_dynamo.dataplane.support import GET, plane

OK = sends(answer())
THROTTLED = sends(error("ThrottlingException"))


def kept_buckets(monkeypatch: pytest.MonkeyPatch, tokens: int) -> list[RetryQuota]:
    """The token buckets that are made from here on, each with so many tokens."""
    buckets: list[RetryQuota] = []
    make = RetryQuota.__init__

    def keep(bucket: RetryQuota) -> None:
        make(bucket, initial_capacity=tokens)
        buckets.append(bucket)

    monkeypatch.setattr(RetryQuota, "__init__", keep)
    return buckets


def ask_boto3() -> None:
    client.dynamodb().get_item(**GET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "play", [THROTTLED, sends(error("InternalServerError", 500)), cuts()], ids=["throttled", "broken", "closed"]
)
async def test_pauses_are_as_long_as_boto3s(play: Play, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(play) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            with pytest.raises((ClientError, ConnectionClosedError)):
                await ours.request("GetItem", GET)
        ours_asked = pauses.copy()
        pauses.clear()
        with pytest.raises((ClientError, ConnectionClosedError)):
            ask_boto3()
    assert ours_asked == pauses
    assert len(pauses) == 3
    assert sorted(pauses) == pauses


async def test_the_bucket_runs_dry_and_fills_as_boto3s(monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = kept_buckets(monkeypatch, 20)
    with serving(cuts()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)

        async def spend(ask: Callable[[], Awaitable[object]]) -> list[tuple[int, int]]:
            """Requests and what is left in the bucket, after each of two calls that fail and three that do not."""
            server.script, spent = [cuts()], []
            before = len(server.seen)
            for call in range(5):
                if call == 2:
                    server.script = [OK]
                with suppress(ConnectionClosedError):
                    await ask()
                spent.append((len(server.seen) - before, buckets[-1].available_capacity))
            return spent

        async def ask_by_boto3() -> None:
            ask_boto3()

        async with plane() as ours:
            by_plane = await spend(lambda: ours.request("GetItem", GET))
        by_boto3 = await spend(ask_by_boto3)
    assert len(buckets) == 2
    assert by_plane == by_boto3
    (_, dry), (_, still_dry), *filling = by_plane
    assert still_dry <= dry < 20
    assert [left for _, left in filling] == [still_dry + 1, still_dry + 2, still_dry + 3]


async def test_a_retry_that_succeeds_gives_back_what_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = kept_buckets(monkeypatch, RetryQuota.INITIAL_CAPACITY)
    with serving(cuts(), OK) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            await ours.request("GetItem", GET)
    assert buckets[-1].available_capacity == RetryQuota.INITIAL_CAPACITY


def test_the_configuration_is_boto3s() -> None:
    config = client.dynamodb_access().client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 5)  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}  # type: ignore[attr-defined]
