"""The names that the declared tables have in this deployment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sessions_dynamo import schema
from sessions_dynamo.conf import conf


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A declared table, and the name that it has in this deployment."""

    name: str
    schema: schema.Table


_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}", re.ASCII)


def is_table_name(text: str) -> bool:
    """Whether DynamoDB could have a table of this name."""
    return _TABLE_NAME.fullmatch(text) is not None


def named_tables(sessions: str | None = None, events: str | None = None) -> tuple[NamedTable, NamedTable]:
    """The sessions and the events table, by default under the names in the settings."""
    return (
        NamedTable(sessions or conf.DYNAMODB_SESSIONS_TABLE, schema.SESSIONS),
        NamedTable(events or conf.DYNAMODB_EVENTS_TABLE, schema.EVENTS),
    )
