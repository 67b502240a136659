"""System checks: settings that cannot work together, each with what to set instead."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings
from django.core.checks import WARNING, CheckMessage, Error, Warning, register, run_checks

from sessions_dynamo.conf import conf

logger = logging.getLogger(__name__)

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
    if not 0 < conf.DYNAMODB_EMBEDDED_PORT < 1 << 16:
        found.append(
            Error(
                f"DYNAMODB_EMBEDDED_PORT is {conf.DYNAMODB_EMBEDDED_PORT}, and no port is.",
                hint="Set it to a free one from 1024 to 65535, such as DYNAMODB_EMBEDDED_PORT=8063.",
                id="sessions_dynamo.E011",
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


@register()
def check_connections(**_: Any) -> list[CheckMessage]:
    """Connections of Django's databases that a thread would keep, where threads come and go.

    Measured under ASGI with a ``CONN_MAX_AGE`` of 600 s, after 50 requests one by one and 50 at once: 45 connections of
    PostgreSQL, 40 open files of SQLite, and none of them used again.
    """
    if not getattr(settings, "ASGI_APPLICATION", None):
        return []
    found: list[CheckMessage] = []
    for alias, database in settings.DATABASES.items():
        if database.get("CONN_MAX_AGE", 0) == 0:
            continue
        place = f'DATABASES["{alias}"]["CONN_MAX_AGE"]'
        hint = f"Set {place} to 0, and take conn_max_age out of a database URL."
        if database.get("OPTIONS", {}).get("pool"):
            found.append(Error(f"{place} is not 0, and Django has no pool then.", hint=hint, id="sessions_dynamo.E009"))
        else:
            found.append(
                Warning(
                    f"{place} is not 0: under ASGI a request's thread keeps its connection after the request, and the"
                    " next request has another thread.",
                    hint=f'{hint} For PostgreSQL, connections are kept by OPTIONS["pool"].',
                    id="sessions_dynamo.W002",
                )
            )
    return found


def refuse_to_start() -> None:
    """End the process with one readable message when a system check finds an error; what it warns of is logged.

    For entry points that Django itself does not check: gunicorn, Lambda.
    """
    found = [message for message in run_checks() if not message.is_silenced()]
    errors = [message for message in found if message.is_serious()]
    if errors:
        sys.stderr.write(_message(errors))
        sys.stderr.flush()
        raise SystemExit(_APP_LOAD_ERROR)
    for message in found:
        if message.level == WARNING:
            logger.warning("%s (%s) %s", message.msg, message.id, message.hint or "")


def _message(errors: Iterable[CheckMessage]) -> str:
    lines = ["This service cannot start with its settings:"]
    for error in errors:
        lines += [f"* {error.msg} ({error.id})", *([f"  {error.hint}"] if error.hint else [])]
    return "\n".join(lines) + "\n"
