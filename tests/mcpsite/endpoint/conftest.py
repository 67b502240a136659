"""A session in tables of the module's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from sessions_dynamo.store import event_operations
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers.streams import StreamStore, default_store
from tests.mcpsite.endpoint.streams.support import new_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(autouse=True)
def _never_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance would have it now and then, and it would be counted."""
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 1.0))


@pytest.fixture
def session(store: StreamStore) -> Session:
    return new_session()


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> StreamStore:
    """The store that every worker of this process uses."""
    return default_store()
