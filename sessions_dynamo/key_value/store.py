"""A key-value store on the sessions table, as ``AsyncKeyValue`` of py-key-value-aio has it: FastMCP's, for one.

``FastMCP("notes", session_state_store=DynamoDBKeyValue())``. It follows the protocol and imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, SupportsFloat

from sessions_dynamo.conf import conf
from sessions_dynamo.dataplane.loops import run
from sessions_dynamo.errors import InvalidState
from sessions_dynamo.key_value.operations import KeyValueOperations, default_operations

DEFAULT_COLLECTION: Final = "default"


class DynamoDBKeyValue:
    """JSON objects under a collection and a key, on whichever event loop runs; every method raises ``StorageError``.

    Reads are consistent, the last write of a key wins. A value without a ``ttl`` lives ``default_ttl`` from its last
    write on: nothing stays in the table for ever.
    """

    def __init__(self, *, default_collection: str = DEFAULT_COLLECTION, default_ttl: timedelta | None = None) -> None:
        """``default_ttl`` is ``SESSION_TTL_HOURS`` where none is given."""
        self._default_collection = default_collection
        self._default_ttl = default_ttl

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """The value of a key; ``None`` where there is none, or no more."""
        return (await self.get_many([key], collection=collection))[0]

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value of a key and the seconds that it has left; ``(None, None)`` where there is none."""
        return (await self.ttl_many([key], collection=collection))[0]

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None
    ) -> None:
        """Store a value for ``ttl`` seconds; raises ``InvalidState`` for what is no JSON, ``StateTooLarge``."""
        await self.put_many([key], [value], collection=collection, ttl=ttl)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        """Delete a key; whether there was one."""
        return await self.delete_many([key], collection=collection) == 1

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        """The values of some keys, in their order; ``None`` for each that there is not."""
        return [value for value, _ in await self.ttl_many(keys, collection=collection)]

    async def ttl_many(
        self, keys: Sequence[str], *, collection: str | None = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """The values of some keys and the seconds that each has left; ``(None, None)`` for each that there is not."""
        found = await run(self._operations.get(self._collection(collection), keys))
        return [(None, None) if one is None else one for one in found]

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store values for ``ttl`` seconds, one for each key; raises ``InvalidState``, ``StateTooLarge``."""
        if len(keys) != len(values):
            raise InvalidState(f"{len(keys)} keys and {len(values)} values: give one value for each key.")
        seconds = None if ttl is None else float(ttl)
        await run(self._operations.put(self._collection(collection), list(zip(keys, values, strict=True)), seconds))

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        """Delete some keys; how many of them there were."""
        return await run(self._operations.delete(self._collection(collection), keys))

    @property
    def _operations(self) -> KeyValueOperations:
        if self._default_ttl is None:
            return default_operations()
        return KeyValueOperations(conf.DYNAMODB_SESSIONS_TABLE, self._default_ttl)

    def _collection(self, collection: str | None) -> str:
        return self._default_collection if collection is None else collection
