"""For stored sessions and events: ``dynamodb``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from pytest_django import Settings

from sessions_dynamo.staff import stores
from tests.sessions_dynamo.support import Wire

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(autouse=True)
def _no_record_of_calls(settings: Settings) -> None:
    """Served calls are written later and by another thread, when a test's tables may be gone."""
    settings.RECORD_CALLS = False


@pytest.fixture
def viewer(staff_client: Callable[..., Client]) -> Client:
    """One of staff who may look."""
    return staff_client("view_session")


@pytest.fixture
def wire(dynamodb: DynamoDBClient) -> Wire:
    """Every request of the pages' own client from here on."""
    heard = Wire()
    stores.events().dynamodb.meta.events.register("before-parameter-build.dynamodb", heard.hear)
    return heard
