"""What every command of this app is made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TextIO

from django.core.management.base import BaseCommand, OutputWrapper

PIPE_CLOSED: Final = 141
"""What a shell reports of a program that a closed pipe ended."""


class OutputClosed(Exception):
    """Nobody reads standard output any more. No ``OSError``: a command takes those for its files'."""


class Output(OutputWrapper):
    """Standard output that says ``OutputClosed``."""

    def write(  # type: ignore[override]  # as Django's own, which returns nothing
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        """As Django has it. Raises ``OutputClosed``."""
        try:
            super().write(msg, style_func, ending)
        except BrokenPipeError as exc:
            raise OutputClosed from exc


class SessionsCommand(BaseCommand):
    """A command that ends without a word where nobody reads on, as in ``manage.py … | head``."""

    def __init__(self, stdout: TextIO | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(stdout, *args, **kwargs)
        self.stdout = Output(stdout or sys.stdout)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django has it. Raises ``SystemExit`` where standard output was closed."""
        try:
            output = super().execute(*args, **options)
            # Not when Python ends, where it could only be a warning.
            self.stdout.flush()
        except (OutputClosed, BrokenPipeError):
            discard_output()
            raise SystemExit(PIPE_CLOSED) from None
        return output


def discard_output() -> None:
    """Let standard output, which nobody reads, go nowhere: else Python tries once more as it ends, and complains."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
