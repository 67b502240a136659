"""AWS itself for tests of what no emulator does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from sessions_dynamo.client import aws_client
from tests.sessions_dynamo.tables.aspects.aws import StubbedAws


@pytest.fixture
def aws(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    """Clients that believe to talk to AWS, and a Stubber in front of each: no request leaves this process."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    settings.ENVIRONMENT = "test"
    aws_client.cache_clear()
    stubbed = StubbedAws()
    yield stubbed
    aws_client.cache_clear()
