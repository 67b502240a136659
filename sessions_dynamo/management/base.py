"""What every command of this app is made of."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TextIO

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

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
    """A command that takes its arguments in any order, and ends without a word where nobody reads on (``… | head``)."""

    def __init__(self, stdout: TextIO | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(stdout, *args, **kwargs)
        self.stdout = Output(stdout or sys.stdout)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """As Django has it, but names may stand behind options, wherever these stand."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.parse_args = partial(_in_any_order, parser, parser.parse_args)  # type: ignore[method-assign, assignment]
        return parser

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


def _in_any_order(
    parser: CommandParser,
    in_turn: Callable[..., Namespace],
    args: Sequence[str] | None = None,
    namespace: Namespace | None = None,
) -> Namespace:
    """What the words say, read for options first and for names among the rest.

    By itself argparse fills all positionals from the first words that are no option: of "delete --yes NAME" the action
    with "delete", the names with nothing, and NAME is an argument too many.
    """
    words = sys.argv[1:] if args is None else list(args)
    if "--" in words:
        return in_turn(words, namespace)  # Read twice, it would be lost, and what stands behind it be an option.
    return parser.parse_intermixed_args(words, namespace)


def discard_output() -> None:
    """Let standard output, which nobody reads, go nowhere: else Python tries once more as it ends, and complains."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
