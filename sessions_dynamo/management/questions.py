"""What commands ask at a terminal: a numbered menu, and names typed before data is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from django.core.management.base import CommandError


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def choose(choices: Sequence[str], write: Callable[[str], object]) -> list[int]:
    """The places in ``choices`` that were chosen, any number of them; asks again for what is no choice.

    None for an empty answer, and where the input ends.
    """
    for number, text in enumerate(choices, start=1):
        write(f"{number}. {text}")
    while True:
        try:
            parts = input(f"What to do, such as 1 or 1,3 (nothing or {len(choices)}: leave all as it is)? ").split(",")
        except EOFError:
            write("")
            return []
        chosen = [part.strip() for part in parts if part.strip()]
        unknown = [part for part in chosen if part not in map(str, range(1, len(choices) + 1))]
        if not unknown:
            return sorted({int(part) - 1 for part in chosen})
        write(f"There is no choice {', '.join(unknown)}: the choices are 1 to {len(choices)}.")


def confirm_names(names: Iterable[str]) -> None:
    """Have each name typed. Raises ``CommandError`` for anything else."""
    for name in names:
        try:
            answer = input(f"Type the table's name, {name}, to go on: ").strip()
        except EOFError:
            answer = ""
        if answer != name:
            raise CommandError(f"That is not the name {name}. Nothing was changed.")


def confirm(question: str) -> None:
    """Have ``yes`` typed. Raises ``CommandError`` for anything else."""
    try:
        answer = input(f"{question} Type yes to go on: ").strip()
    except EOFError:
        answer = ""
    if answer != "yes":
        raise CommandError("That is not yes. Nothing was changed.")
