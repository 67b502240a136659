"""What goes through a store is tested on both drivers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sessions_dynamo.operations import Driver
from tests.sessions_dynamo.drivers import ASYNCIO, BOTO3


@pytest.fixture(params=[BOTO3, ASYNCIO])
def driver(request: pytest.FixtureRequest, driver_named: Callable[[str], Driver]) -> Driver:
    """Each driver in turn."""
    return driver_named(request.param)
