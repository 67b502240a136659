"""What an item of the sessions table is, and whose: a session, a large value or a region's ``global_state`` entry."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

from sessions_dynamo import schema
from sessions_dynamo.store import session_items
from sessions_dynamo.store.state import Spilled

Item = dict[str, Any]


class SessionsKind(StrEnum):
    """What an item of the sessions table is; ``OTHER`` is none of ours."""

    SESSION = "session"
    VALUE = "large value"
    REGION = "region's state"
    OTHER = "other item"


REGION_ATTRIBUTE: Final = "updated_at"
"""Only a ``global_state`` entry has it: from its key alone an entry of the region ``a#0123456789abcdef`` could be a
large value of the key ``#a``."""

_VALUE_ID: Final = re.compile(r".+#[0-9a-f]{16}", re.ASCII | re.DOTALL)


def kind_of(item: Item) -> SessionsKind:
    """What an item of the sessions table is, told from its key and ``REGION_ATTRIBUTE``."""
    key: str = item["session_id"]["S"]
    owner, mark, rest = key.partition("#")
    if not schema.is_session_id(owner):
        return SessionsKind.OTHER
    if not mark:
        return SessionsKind.SESSION
    if REGION_ATTRIBUTE in item and rest.startswith("#"):
        return SessionsKind.REGION
    return SessionsKind.VALUE if _VALUE_ID.fullmatch(rest) else SessionsKind.OTHER


def owner_of(item_id: str) -> str:
    """The session that a large value or a region's entry belongs to."""
    return item_id.partition("#")[0]


def value_ids(session: Item) -> list[str]:
    """The items of a session's large values, as its state points to them."""
    entries = session_items.decode_entries(session).values()
    return [entry.item_id for entry in entries if isinstance(entry, Spilled)]
