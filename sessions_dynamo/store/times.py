"""Times as the tables hold them: whole milliseconds since the epoch, and whole seconds for ``ttl``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sessions_dynamo import schema


def to_ms(at: datetime) -> int:
    """Whole milliseconds since the epoch, as every time but ``ttl`` is stored."""
    return round(at.timestamp() * 1000)


def from_ms(at: int) -> datetime:
    """The time (UTC) of whole milliseconds since the epoch."""
    return datetime.fromtimestamp(at / 1000, UTC)


def seconds(at: datetime) -> dict[str, Any]:
    """The attribute of a ``ttl``: whole seconds since the epoch, as DynamoDB's Time to Live requires."""
    return {"N": str(int(at.timestamp()))}


def from_seconds(value: dict[str, Any]) -> datetime:
    """The time (UTC) of a ``ttl`` attribute."""
    return datetime.fromtimestamp(int(value["N"]), UTC)


def ahead(lifetime: timedelta) -> dict[str, Any]:
    """The attribute of a ``ttl`` that lies so far ahead of now."""
    return {"N": str((schema.now_ms() + lifetime // timedelta(milliseconds=1)) // 1000)}


def is_expired(item: dict[str, Any]) -> bool:
    """Whether Time to Live should have deleted an item; it does so late."""
    return int(item[schema.TTL_ATTRIBUTE]["N"]) <= schema.now_ms() // 1000
