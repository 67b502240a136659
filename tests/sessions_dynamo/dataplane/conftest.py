"""Short time-outs, and retries without their pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.retries.standard import ExponentialBackoff

from sessions_dynamo import client


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore's rules ask for at most, in s; nobody makes them."""
    asked: list[float] = []
    delay: Callable[..., float] = ExponentialBackoff.delay_amount

    def none(backoff: ExponentialBackoff, context: Any) -> float:
        backoff._random = lambda: 1.0  # type: ignore[attr-defined]
        asked.append(delay(backoff, context))
        return 0.0

    monkeypatch.setattr(ExponentialBackoff, "delay_amount", none)
    return asked


@pytest.fixture(autouse=True)
def _forgotten_clients() -> Iterator[None]:
    client.aws_client.cache_clear()
    yield
    client.aws_client.cache_clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of 0.3 s to connect and for an answer."""
    config = client._CONFIG.merge(Config(connect_timeout=0.3, read_timeout=0.3))
    monkeypatch.setattr(client, "_CONFIG", config)
