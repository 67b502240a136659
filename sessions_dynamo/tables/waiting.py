"""Waiting for tables and indexes, and telling what AWS refuses for a while from what it refuses for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import THROTTLES, StorageError, StorageUnavailable, TableMissing, error_code
from sessions_dynamo.patience import PATIENCE as LOOK_PATIENCE
from sessions_dynamo.patience import patiently
from sessions_dynamo.tables.describing import describe_table, to_description

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PATIENCE: Final = 900.0
"""Seconds to wait for a table or an index; an index on a large table can take longer, and setup is run again then."""

Progress = Callable[[str, float], None]
"""Hears what is waited for, and for how many seconds it has been, at every look."""

# What AWS answers while another change runs and when requests come too fast, when too many changes run or ran today,
# and while Time to Live is locked after a change.
_LIMITED: Final = frozenset({"LimitExceededException"})
_BUSY: Final = (
    frozenset({"ResourceInUseException", "ContinuousBackupsUnavailableException", "ConcurrentUpdateException"})
    | THROTTLES
) - _LIMITED
_TTL_LOCKED: Final = "modified multiple times within a fixed interval"


def wait_until_active(
    name: str,
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    progress: Progress | None = None,
) -> bool:
    """Whether the table, its indexes, replicas and encryption settled within ``patience`` seconds; 0 looks once.

    Raises ``StorageUnavailable`` for a table that will not: one that is being deleted, archived or lost its key. One
    look that DynamoDB throttles or does not answer does not end the wait.
    """
    client = client or dynamodb()
    for elapsed in polls(patience):
        try:
            look = partial(describe_table, client, name)
            table = to_description(client, patiently(look, first=not elapsed, patience=min(patience, LOOK_PATIENCE)))
        except TableMissing:
            # Right after CreateTable, DescribeTable may not see the table yet.
            busy: tuple[str, ...] = ("table CREATING",)
        else:
            if table.status not in ("ACTIVE", "CREATING", "UPDATING"):
                raise StorageUnavailable(f"Table {name} is {table.status}: it can be neither used nor changed now.")
            busy = table.unsettled
        if not busy:
            return True
        if progress:
            progress(f"{name}: {', '.join(busy)}", elapsed)
    return False


def polls(patience: float, what: str = "", progress: Progress | None = None) -> Iterator[float]:
    """Come round at once and then ever more slowly, up to every 3 s, until ``patience`` seconds are over.

    Yields the seconds since the first.
    """
    began, pause = time.monotonic(), 0.1
    yield 0.0
    while (elapsed := time.monotonic() - began) < patience:
        if progress:
            progress(what, elapsed)
        time.sleep(min(pause, patience - elapsed))
        pause = min(pause * 1.5, 3)
        yield time.monotonic() - began


def passes_soon(exc: StorageError) -> bool:
    """Whether AWS refused because another change of the table runs or its backups are being set up, or throttled."""
    cause = exc.__cause__
    return isinstance(cause, ClientError) and error_code(cause) in _BUSY


def retry_later(exc: StorageError) -> str | None:
    """AWS's own words where a refusal passes with time, else ``None``."""
    cause = exc.__cause__
    if not isinstance(cause, ClientError):
        return None
    message = cause.response["Error"].get("Message", "")
    if error_code(cause) == "ValidationException" and _TTL_LOCKED in message:
        return "AWS locks Time to Live for up to an hour after a change."
    return message if error_code(cause) in _BUSY | _LIMITED else None
