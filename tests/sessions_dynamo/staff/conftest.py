"""For stored sessions and events: ``dynamodb``."""

from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _no_record_of_calls(settings: Settings) -> None:
    """Served calls are written later and by another thread, when a test's tables may be gone."""
    settings.RECORD_CALLS = False
