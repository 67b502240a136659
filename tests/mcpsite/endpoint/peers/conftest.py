"""What the tests of this room count: the looks at the news too."""

from __future__ import annotations

from functools import partial

import pytest

from sessions_dynamo.schema import EventKind
from tests.mcpsite.conftest import Wire, is_of_a_worker


@pytest.fixture
def wire(wire: Wire) -> Wire:
    """What this process sends to DynamoDB, but for beats and looks at inboxes."""
    wire.is_left_out = partial(is_of_a_worker, kinds=(EventKind.MESSAGE, EventKind.WORKER))
    return wire
