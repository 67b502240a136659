"""The rules of trying again: attempts, pauses and the token bucket are botocore's."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.retries.quota import RetryQuota

from sessions_dynamo import client
from tests.sessions_dynamo.dataplane.servers import answer, cuts, error, sends, serving
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


async def test_pauses_grow_and_are_longer_for_throttles(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    for play in (THROTTLED, sends(error("InternalServerError", 500))):
        with serving(play) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            async with plane() as ours:
                with pytest.raises(ClientError):
                    await ours.request("GetItem", GET)
    assert pauses == [1, 2, 4, 0.025, 0.05, 0.1]


async def test_with_the_bucket_empty_there_is_one_attempt_and_successes_fill_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buckets = kept_buckets(monkeypatch, 20)
    with serving(cuts()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            with pytest.raises(ConnectionClosedError):
                await ours.request("GetItem", GET)
            assert len(server.seen) == 2
            left = buckets[-1].available_capacity
            with pytest.raises(ConnectionClosedError):
                await ours.request("GetItem", GET)
            assert len(server.seen) == 3
            server.script = [OK]
            for _ in range(3):
                await ours.request("GetItem", GET)
            assert buckets[-1].available_capacity == left + 3


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
