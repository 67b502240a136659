"""What every command of this app is made of."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

from django.core.management.base import BaseCommand

PIPE_CLOSED: Final = 141
"""What a shell reports of a program that a closed pipe ended."""


class SessionsCommand(BaseCommand):
    """A command that ends without a word where nobody reads on, as in ``manage.py … | head``."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django has it. Raises ``SystemExit`` where standard output was closed."""
        try:
            output = super().execute(*args, **options)
            # Not when Python ends, where it could only be a warning.
            self.stdout.flush()
        except BrokenPipeError:
            discard_output()
            raise SystemExit(PIPE_CLOSED) from None
        return output


def discard_output() -> None:
    """Let standard output, which nobody reads, go nowhere: else Python tries once more as it ends, and complains."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
