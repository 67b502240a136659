"""Waiting for tables and indexes, and telling what AWS refuses for a while from what it refuses for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo.client import dynamodb
from sessions_dynamo.descriptions import describe_table
from sessions_dynamo.errors import StorageError, StorageUnavailable, TableMissing, error_code

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PATIENCE: Final = 900.0
"""Seconds to wait for a table or an index; an index on a large table can take longer, and setup is run again then."""

Progress = Callable[[str, float], None]
"""Hears what is waited for, and for how many seconds it has been, at every look."""

# What AWS answers while another change runs, and while Time to Live is locked after a change.
_BUSY: Final = ("ResourceInUseException", "LimitExceededException")
_TTL_LOCKED: Final = "modified multiple times within a fixed interval"


def wait_until_active(
    name: str,
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
) -> bool:
    """Whether the table and all of its indexes became ACTIVE within ``patience`` seconds; 0 looks once.

    Raises ``StorageUnavailable`` for a table that will not: one that is being deleted, archived or lost its key.
    """
    client = client or dynamodb()
    for _ in polls(patience, f"{name} to become ACTIVE", progress):
        try:
            table = describe_table(client, name)
        except TableMissing:
            # Right after CreateTable, DescribeTable may not see the table yet.
            continue
        status = table["TableStatus"]
        if status not in ("ACTIVE", "CREATING", "UPDATING"):
            raise StorageUnavailable(f"Table {name} is {status}: it can be neither used nor changed now.")
        indexes = table.get("GlobalSecondaryIndexes", [])
        if status == "ACTIVE" and all(index.get("IndexStatus", "ACTIVE") == "ACTIVE" for index in indexes):
            return True
    return False


def polls(patience: float, what: str = "", progress: Progress | None = None) -> Iterator[None]:
    """Come round at once and then ever more slowly, up to every 3 s, until ``patience`` seconds are over."""
    began, pause = time.monotonic(), 0.1
    yield
    while (elapsed := time.monotonic() - began) < patience:
        if progress:
            progress(what, elapsed)
        time.sleep(min(pause, patience - elapsed))
        pause = min(pause * 1.5, 3)
        yield


def retry_later(exc: StorageError) -> str | None:
    """AWS's own words where a refusal passes with time, else ``None``."""
    cause = exc.__cause__
    if not isinstance(cause, ClientError):
        return None
    message = cause.response["Error"].get("Message", "")
    if error_code(cause) == "ValidationException" and _TTL_LOCKED in message:
        return "AWS locks Time to Live for up to an hour after a change."
    return message if error_code(cause) in _BUSY else None
