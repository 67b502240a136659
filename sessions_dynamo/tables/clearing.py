"""Every item of a table deleted: a parallel Scan whose threads delete what they read, in batches.

It makes up to ``SEGMENTS`` requests at once, holds one page of keys for each, and slows down while it is throttled.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo import chunks, schema
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import THROTTLES, StorageError, StorageUnavailable, boto_errors, error_code
from sessions_dynamo.operations import run
from sessions_dynamo.store import batches
from sessions_dynamo.tables.describing import forget_descriptions
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SEGMENTS: Final = 16
"""Segments of the Scan, each with a thread of its own."""
PAGE: Final = 500
"""Keys read at once: what bounds the memory of a table of small items."""
PATIENCE: Final = 120.0
"""Seconds that DynamoDB may refuse every request before clearing gives up."""

_LOOK_SECONDS: Final = 0.2
_DOUBLINGS: Final = 8
"""Pauses grow to 12.8 s at the longest."""

Heard = Callable[[int, float], None]
"""Hears how many items have been deleted, in how many seconds: several times a second, and once at the end."""


class ForeignTable(StorageError):
    """A table whose keys are not those that this service declares was to be cleared."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was deleted, and what the table holds now: items that somebody wrote meanwhile."""

    deleted: int
    left: int


def refuse_if_foreign(table: NamedTable, live: TableDescription) -> None:
    """Raise ``ForeignTable`` where the table that stands under the name has other keys: it is no table of ours."""
    if live.keys != table.schema.keys:
        found, wanted = _key_words(live.keys), _key_words(table.schema.keys)
        raise ForeignTable(
            f"Table {table.name} has the key {found}, not {wanted}: it is not this service's, and is not cleared."
            " Check the tables' names."
        )


def _key_words(keys: Iterable[schema.Key]) -> str:
    return ", ".join(f"{key.name} ({key.type})" for key in keys)


def clear(
    table: NamedTable,
    *,
    client: DynamoDBClient | None = None,
    segments: int = SEGMENTS,
    patience: float = PATIENCE,
    heard: Heard | None = None,
) -> Cleared:
    """Delete every item that the table held at the start; one that is written meanwhile may survive.

    Raises ``TableMissing``, and ``StorageUnavailable`` when DynamoDB takes nothing for ``patience`` seconds. However
    it ends, ``heard`` was told last how many items were deleted, and another call deletes the rest.
    """
    clearing = _Clearing(client or dynamodb(), table, patience)
    try:
        clearing.run(segments, heard)
    finally:
        forget_descriptions()
    return Cleared(clearing.deleted, clearing.count())


class _Clearing:
    def __init__(self, client: DynamoDBClient, table: NamedTable, patience: float) -> None:
        self._client = client
        self._table = table
        self._patience = patience
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._served_at = time.monotonic()
        self.deleted = 0

    def run(self, segments: int, heard: Heard | None) -> None:
        began = time.monotonic()
        try:
            # Leaving the pool waits for its threads: what they have sent by then is counted.
            with ThreadPoolExecutor(segments, thread_name_prefix="clearing") as pool:
                running = {pool.submit(self._clear_segment, number, segments) for number in range(segments)}
                try:
                    while running:
                        done, running = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
                        for segment in done:
                            segment.result()
                        if heard and running:
                            heard(self.deleted, time.monotonic() - began)
                finally:
                    self._stop.set()
        finally:
            if heard:
                heard(self.deleted, time.monotonic() - began)

    def count(self) -> int:
        """How many items the table holds."""
        self._stop.clear()
        return sum(page["Count"] for page in self._scan(Select="COUNT"))

    def _clear_segment(self, number: int, segments: int) -> None:
        names = {f"#{position}": key.name for position, key in enumerate(self._table.schema.keys)}
        pages = self._scan(
            Segment=number,
            TotalSegments=segments,
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
            Limit=PAGE,
        )
        for page in pages:
            for keys in chunks.chunks(page["Items"], batches.WRITE_SIZE):
                self._delete(keys)

    def _scan(self, **request: Any) -> Iterator[Any]:
        """The pages of a consistent Scan, until it or the clearing ends."""
        request |= {"TableName": self._table.name, "ConsistentRead": True}
        refusals = 0
        while not self._stop.is_set():
            try:
                with boto_errors(self._table.name):
                    page = self._client.scan(**request)
            except StorageUnavailable as exc:
                refusals += 1
                self._pause(refusals, exc)
                continue
            refusals = 0
            self._served()
            yield page
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _delete(self, keys: list[batches.Item]) -> None:
        refusals = 0
        while keys and not self._stop.is_set():
            refusal = None
            try:
                left = run(self._client, batches.delete_once(self._table.name, keys))
            except StorageUnavailable as exc:
                left, refusal = keys, exc
            if len(left) < len(keys):
                refusals = 0
                self._served(len(keys) - len(left))
            if left:
                refusals += 1
                self._pause(refusals, refusal)
            keys = left

    def _served(self, deleted: int = 0) -> None:
        with self._lock:
            self._served_at = time.monotonic()
            self.deleted += deleted

    def _pause(self, refusals: int, refusal: StorageUnavailable | None) -> None:
        """Wait, longer after each refusal in a row; raise when waiting does not help."""
        if refusal and not _is_throttle(refusal):
            raise refusal
        if time.monotonic() - self._served_at > self._patience:
            raise StorageUnavailable(
                f"DynamoDB throttled {self._table.name}: for {self._patience:.0f} s it let nothing be read or deleted."
                " Raise the table's capacity or make it pay per request, and run this again: it goes on with the rest."
            ) from refusal
        self._stop.wait(random.uniform(0, 0.05 * 2 ** min(refusals, _DOUBLINGS)))  # noqa: S311 (jitter, no secret)


def _is_throttle(exc: StorageUnavailable) -> bool:
    cause = exc.__cause__
    return isinstance(cause, ClientError) and error_code(cause) in THROTTLES
