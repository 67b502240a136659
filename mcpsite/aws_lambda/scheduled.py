"""Events of a schedule: management commands that run inside the function, within the time that it has."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

from django.core.management import CommandError, call_command

from sessions_dynamo import metrics

logger = logging.getLogger(__name__)

COMMANDS: Final = ("sessions_expire", "dynamodb_status", "dynamodb_backup daily")
"""What may run in a function, with its first argument where not all may; the others ask, or take longer than that."""

_TIMED: Final = ("sessions_expire", "dynamodb_backup")
"""What takes ``--seconds``."""

_BY_ITSELF: Final = ("aws.events", "aws.scheduler")
_RESERVED_SECONDS: Final = 10.0
"""Before the function's end, for the part that is under way: at most, and a fifth of what there is."""


class CommandFailed(Exception):
    """The command's own sentence, or what is wrong with what was asked."""


class Context(Protocol):
    """What is needed of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is ended."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A command, and its arguments as a shell would give them."""

    command: str
    arguments: tuple[str, ...] = ()


def asked(event: Mapping[str, Any]) -> Asked | None:
    """What a schedule's event asks for; ``None`` where it is none. Raises ``CommandFailed`` for what is not run here.

    An EventBridge rule without an input of its own asks for ``sessions_expire``.
    """
    if "command" not in event:
        return Asked("sessions_expire") if event.get("source") in _BY_ITSELF else None
    command, arguments = event["command"], event.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise CommandFailed(f'"arguments" of {command} are a list of texts, such as ["--idle", "720"].')
    if command not in COMMANDS and (named := " ".join([str(command), *arguments[:1]])) not in COMMANDS:
        raise CommandFailed(f"{named!r} is no command that runs in a function: it is one of {', '.join(COMMANDS)}.")
    return Asked(command, tuple(arguments))


def run(what: Asked, context: Context) -> dict[str, Any]:
    """Run a command, and return what it printed: as JSON where it has that. Raises ``CommandFailed``.

    What takes ``--seconds`` stops before the function's time is over; its next run finds what is left.
    """
    seconds = context.get_remaining_time_in_millis() / 1000
    printed = io.StringIO()
    arguments = _arguments(what, seconds - min(_RESERVED_SECONDS, seconds / 5))
    try:
        call_command(what.command, *arguments, stdout=printed, no_color=True)
    except (CommandError, SystemExit) as exc:
        text = str(exc) if isinstance(exc, CommandError) else f"ended with status {exc.code}"
        raise CommandFailed(f"{what.command}: {text} {printed.getvalue()}".strip()) from None
    finally:
        metrics.flush()
    result = {"command": what.command, **_result(printed.getvalue())}
    logger.info("scheduled: %s", json.dumps(result))
    return result


def _arguments(what: Asked, seconds: float) -> list[str]:
    arguments = list(what.arguments)
    if what.command in _TIMED and "--no-wait" not in arguments:
        # The last one counts.
        arguments += ["--seconds", f"{max(1.0, min(seconds, *_given(arguments))):.1f}"]
    if "--json" not in arguments and "--emf" not in arguments:
        arguments.append("--json")
    return arguments


def _given(arguments: Sequence[str]) -> list[float]:
    """The ``--seconds`` that somebody asked for; at least something, for ``min``."""
    texts = [text.partition("=")[2] for text in arguments if text.startswith("--seconds=")]
    texts += [after for text, after in pairwise(arguments) if text == "--seconds"]
    given = [float("inf")]
    for text in texts:
        with suppress(ValueError):
            given.append(float(text))
    return given


def _result(printed: str) -> dict[str, Any]:
    try:
        document = json.loads(printed)
    except ValueError:
        # Metrics are for CloudWatch, which reads the function's output.
        sys.stdout.write(printed)
        sys.stdout.flush()
        return {"lines": len(printed.splitlines())}
    if isinstance(document, dict) and document.get("outcome") == "stopped":
        return {"result": document, "note": "The function's time, or a limit, was reached: the next run goes on."}
    return {"result": document}
