"""The function in this process, and clients behind its front doors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.test import override_settings

from tests.mcpsite.aws_lambda.events import CONTEXT, Front, received
from tests.mcpsite.peers import Answer, Send

Handler = Callable[[Any, Any], dict[str, Any]]


@pytest.fixture
def handler() -> Handler:
    # A production start would refuse the tests' settings.
    with override_settings(DEBUG=True):
        from mcpsite.lambda_handler import handler

    return handler


@pytest.fixture
def behind(handler: Handler) -> Callable[[Front], Send]:
    """The endpoint, as a client reaches it by a front door."""

    def at(front: Front) -> Send:
        def send(method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            event, _ = front.ask(method, "/mcp", body, headers)
            return received(handler(event, CONTEXT))

        return send

    return at
