"""System check of what the tables shall have."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.tables import desired


@register(DYNAMODB)
def check_declarations(**_: Any) -> list[CheckMessage]:
    """What ``dynamodb_setup`` shall give the tables: billing, recovery, protection, encryption, replicas."""
    return [
        Error(
            problem,
            hint="Give it that form, or unset it to leave the tables as they stand.",
            id="sessions_dynamo.E008",
        )
        for problem in desired.problems()
    ]
