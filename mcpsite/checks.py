"""System checks of what this site has a default for under DEBUG, and a deployment does not."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


# The ids are of the app that once held this check: SILENCED_SYSTEM_CHECKS may name them.
@register(Tags.security)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """What DEBUG has a default for and a deployment does not."""
    if settings.DEBUG:
        return []
    found: list[CheckMessage] = []
    if settings.SECRET_KEY == settings.DEVELOPMENT_SECRET_KEY:
        found.append(
            Error(
                "SECRET_KEY is not set.",
                hint="Set it to a long random text, the same on every worker, such as the output of"
                " python -c 'import secrets; print(secrets.token_urlsafe(50))'. On your own machine: DEBUG=true.",
                id="sessions_dynamo.E001",
            )
        )
    if not settings.DATABASE_URL_IS_SET:
        found.append(
            Error(
                "DATABASE_URL is not set.",
                hint="Set it to the database of staff accounts and tokens, such as"
                " postgres://user:password@host:5432/name.",
                id="sessions_dynamo.E002",
            )
        )
    elif settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
        found.append(
            Warning(
                "DATABASE_URL names an SQLite file, which one machine has to itself and a container loses.",
                hint="Set DATABASE_URL to a server, such as postgres://user:password@host:5432/name.",
                id="sessions_dynamo.W001",
            )
        )
    return found
