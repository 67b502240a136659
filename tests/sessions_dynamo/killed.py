"""Runs a management command that dies without a word right after its n-th write to DynamoDB.

``python -m tests.sessions_dynamo.killed N COMMAND ARGUMENT…`` ends with ``KILLED``, or as the command ends where it
makes fewer writes.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from typing import Any, Final

import django
from django.core.management import execute_from_command_line

KILLED: Final = 99


def main() -> None:
    django.setup()
    from sessions_dynamo.client import dynamodb
    from tests.sessions_dynamo.wire import writes

    last, seen = int(sys.argv[1]), count(1)

    def heard(model: Any, **_: Any) -> None:
        if writes([model.name]) and next(seen) == last:
            os._exit(KILLED)

    dynamodb().meta.events.register("after-call.dynamodb", heard)
    execute_from_command_line(["manage.py", *sys.argv[2:]])


if __name__ == "__main__":
    main()
