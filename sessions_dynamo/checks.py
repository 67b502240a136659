"""System checks: settings that cannot work together, each with what to set instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks

from sessions_dynamo.conf import conf

DYNAMODB: Final = "dynamodb"
"""Tag of the checks on the tables' settings; the commands for tables need no others."""

_APP_LOAD_ERROR: Final = 4
"""Ends gunicorn as a whole: at any other exit status its master starts the worker again, for ever."""


@register(DYNAMODB)
def check_dynamodb(**_: Any) -> list[CheckMessage]:
    """Which DynamoDB, which tables, and limits that are above zero."""
    found: list[CheckMessage] = []
    if conf.DYNAMODB_EMBEDDED and not settings.DEBUG:
        found.append(
            Error(
                "DYNAMODB_EMBEDDED is on without DEBUG: the embedded DynamoDB has no access control and keeps nothing.",
                hint="Set DYNAMODB_EMBEDDED=false and AWS_REGION, or DEBUG=true on your own machine.",
                id="sessions_dynamo.E003",
            )
        )
    if conf.DYNAMODB_SESSIONS_TABLE == conf.DYNAMODB_EVENTS_TABLE:
        found.append(
            Error(
                f"Sessions and events share the table name {conf.DYNAMODB_EVENTS_TABLE}, but their keys differ.",
                hint="Set DYNAMODB_SESSIONS_TABLE (or DYNAMODB_TABLE) and DYNAMODB_EVENTS_TABLE to different names.",
                id="sessions_dynamo.E004",
            )
        )
    for name, unit, example, id_ in (
        ("SESSION_TTL_HOURS", "hours that an idle session lives", 24, "sessions_dynamo.E005"),
        ("EVENT_TTL_HOURS", "hours that an event lives", 6, "sessions_dynamo.E006"),
        ("MAX_EVENTS_PER_SESSION", "events that a session keeps", 1000, "sessions_dynamo.E007"),
    ):
        value = getattr(conf, name)
        if not value > 0:
            found.append(
                Error(
                    f"{name} is {value:g}, but must be above 0.",
                    hint=f"Set it to the number of {unit}, such as {name}={example}.",
                    id=id_,
                )
            )
    return found


def refuse_to_start() -> None:
    """End the process with one readable message when a system check finds an error.

    For entry points that Django itself does not check: gunicorn, Lambda.
    """
    errors = [found for found in run_checks() if found.is_serious() and not found.is_silenced()]
    if errors:
        sys.stderr.write(_message(errors))
        sys.stderr.flush()
        raise SystemExit(_APP_LOAD_ERROR)


def _message(errors: Iterable[CheckMessage]) -> str:
    lines = ["This service cannot start with its settings:"]
    for error in errors:
        lines += [f"* {error.msg} ({error.id})", *([f"  {error.hint}"] if error.hint else [])]
    return "\n".join(lines) + "\n"
