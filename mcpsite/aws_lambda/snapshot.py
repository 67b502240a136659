"""SnapStart: many processes are begun from one image of a process's memory, taken before the first event.

So nothing may be in it that is one process's own: open connections, credentials, the state of a random generator.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
from contextlib import suppress
from typing import Final

from django.db import connections

from mcpsite.aws_lambda.function import Function
from sessions_dynamo import client, metrics
from sessions_dynamo.conf import forget_made_of
from sessions_dynamo.errors import StorageError

logger = logging.getLogger(__name__)

_ENTROPY_BYTES: Final = 32


def register(function: Function) -> bool:
    """Have Lambda call what is to be done before the image is taken, and in each process that is begun from it.

    Whether there is anything to have it done: Lambda's runtime of Python brings it, an image installs awslambdaric.
    """
    try:
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ImportError:
        return False
    register_before_snapshot(lambda: before(function))
    register_after_restore(after)
    return True


def before(function: Function) -> None:
    """Leave nothing open, and nothing that was read of credentials or of a clock."""
    # What takes long is read now: the models of the service, by whoever makes a client.
    with suppress(StorageError):
        client.dynamodb()
    function.close()
    metrics.flush()
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
    forget_made_of("AWS_")


def after() -> None:
    """Draw on a randomness of this process's own. ``secrets`` and ``os.urandom`` ask the kernel, which has one."""
    random.seed(os.urandom(_ENTROPY_BYTES))
    ssl.RAND_add(os.urandom(_ENTROPY_BYTES), float(_ENTROPY_BYTES))
