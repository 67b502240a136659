"""What the tests of ``deploy/`` share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy.stacks import Account
from tests.engines import MOTO


@pytest.fixture(scope="session")
def account(start_engine: Callable[[str], str]) -> Account:
    """An account on moto."""
    return Account(start_engine(MOTO))
