"""Each region's ``global_state`` entry is an item of its own, so that two regions never overwrite each other's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sessions_dynamo import schema
from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store import values
from sessions_dynamo.store.session_items import check_value_size
from sessions_dynamo.store.times import seconds


class RegionEntries:
    """Writes them; ``LargeValues`` reads them, as any value apart from its session. Thread-safe."""

    def __init__(self, table: str, session_ttl: timedelta) -> None:
        self._table = table
        self._session_ttl = session_ttl

    def put(self, session_id: str, region: str, value: Any) -> Operation[None]:
        """Write one region's entry, kept for two session TTLs. Raises ``InvalidState`` or ``StateTooLarge``."""
        values.check_key(region)
        text = values.dumps(value)
        check_value_size(f"the entry of {region}", text)
        item = {
            "session_id": {"S": schema.global_state_id(session_id, region)},
            "value": {"S": text},
            "updated_at": {"N": str(schema.now_ms())},
            schema.TTL_ATTRIBUTE: seconds(datetime.now(UTC) + 2 * self._session_ttl),
        }
        yield from ask(self._table, "PutItem", Item=item)
