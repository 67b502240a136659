"""Requests of long commands: tried again while DynamoDB throttles or does not answer, rather than given up at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from sessions_dynamo.errors import THROTTLES, StorageUnavailable, error_code

T = TypeVar("T")

PATIENCE: Final = 120.0
"""Seconds without an answer before a command gives up."""
LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries."""

_TROUBLE: Final = THROTTLES | {"InternalServerError", "ServiceUnavailable", "InternalFailure"}


def patiently(
    request: Callable[[], T],
    *,
    first: bool = False,
    patience: float = PATIENCE,
    stopped: threading.Event | None = None,
) -> T:
    """The answer to a request that may safely be sent twice, tried for ``patience`` seconds or until ``stopped``.

    Raises the last ``StorageUnavailable``, and at once what does not pass with time: a table that is missing, an
    action that is denied, a request that is wrong; and, at the ``first`` request, a server that does not answer.
    """
    stopped = stopped or threading.Event()
    deadline, pause = time.monotonic() + patience, 0.2
    while True:
        try:
            return request()
        except StorageUnavailable as exc:
            if not _passes(exc, first) or time.monotonic() + pause > deadline:
                raise
            if stopped.wait(pause * random.uniform(0.5, 1)):  # noqa: S311 (jitter, no secret)
                raise
            pause = min(2 * pause, LONGEST_PAUSE)


def _passes(exc: StorageUnavailable, first: bool) -> bool:
    """Whether trying again may help: a throttle, a server's error, or no answer where there were some before."""
    if type(exc) is not StorageUnavailable:
        return False
    match exc.__cause__:
        case None:  # Part of a batch stayed unprocessed.
            return True
        case ClientError() as cause:
            return error_code(cause) in _TROUBLE
        case ConnectionError() | HTTPClientError():
            return not first
        case _:
            return False
