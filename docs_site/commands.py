"""The page of the management commands, from their parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Final

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from docs_site.markdown import code, table

PROGRAM: Final = "manage.py"
OURS: Final = ("sessions_dynamo", "mcpsite")
WIDTH: Final = 100
OVERRIDES: Final = frozenset({"runserver"})
"""A command of Django's that these apps replace: its options are Django's, and described there."""
_CODE: Final = re.compile(r"(--[a-z][\w-]*|\b[A-Z]+_[A-Z_]+\b|\b[a-z]+_[a-z_]+\b)")
GUIDES: Final = {
    "dynamodb_setup": "setup.md",
    "dynamodb_status": "status.md",
    "dynamodb_backup": "backups.md",
    "dynamodb_restore": "backups.md",
    "dynamodb_teardown": "teardown.md",
    "sessions_expire": "cleanup.md",
    "sessions_export": "exports.md",
    "sessions_import": "exports.md",
}
"""The page that says how a command is used, below ``docs/``."""


def commands() -> dict[str, BaseCommand]:
    """The commands of these apps, by their names."""
    named = sorted((name, str(app)) for name, app in get_commands().items() if str(app).startswith(OURS))
    return {name: load_command_class(app, name) for name, app in named if name not in OVERRIDES}


def parser_of(name: str, command: BaseCommand) -> CommandParser:
    """A command's parser, as ``manage.py NAME --help`` has it."""
    return command.create_parser(PROGRAM, name)


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Its own options and arguments, without those that every command of Django has, and without ``--help``."""
    common = {option for action in _common() for option in action.option_strings}
    for action in parser._actions:
        if not common & set(action.option_strings) and not isinstance(action, argparse._SubParsersAction):
            yield action


def subcommands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of what a command divides into, by their names."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def _common() -> list[argparse.Action]:
    return BaseCommand().create_parser(PROGRAM, "")._actions


def text() -> str:
    """The page, in Markdown."""
    parts = [
        "# Commands\n\nEach is run as `python manage.py NAME` ([which `python`](../operate.md#the-commands)), and has"
        " besides what is here the options of every command of Django: `--verbosity`, `--settings`, `--no-color` and"
        " the like.\n"
    ]
    for name, command in commands().items():
        parts += _command(name, command)
    return "\n".join(parts)


def _command(name: str, command: BaseCommand) -> Iterator[str]:
    parser = parser_of(name, command)
    guide = f" [How it is used](../{GUIDES[name]})." if name in GUIDES else ""
    yield f"## {name}\n\n{_sentences(parser.description or '')}{guide}\n"
    yield from _options(parser)
    for sub, its in subcommands_of(parser).items():
        yield f"### {name} {sub}\n\n{_sentences(its.description or _help_of(parser, sub))}\n"
        yield from _options(its)
    if parser.epilog:
        yield f"```text\n{parser.epilog.strip()}\n```\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = list(options_of(parser))
    yield f"```text\n{_usage(parser, actions)}\n```\n"
    if actions:
        yield table(("option", "meaning"), [(code(_name(action)), _help(parser, action)) for action in actions])


def _usage(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    divided = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    formatter.add_usage(None, [*actions, *divided], parser._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def _name(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter("")
    return formatter._format_action_invocation(action)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    words = parser._get_formatter()._expand_help(action) if action.help else ""
    if action.choices and not any(str(choice) in words for choice in action.choices):
        words = f"{words} ({', '.join(map(str, action.choices))})".strip()
    return _sentences(words)


def _help_of(parser: argparse.ArgumentParser, sub: str) -> str:
    """What the list of subcommands says of one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return next((str(one.help) for one in action._choices_actions if one.dest == sub), "")
    return ""


def _sentences(words: str) -> str:
    """As Markdown: options and variables as code, and no mark of it in the rest."""
    parts = _CODE.split(" ".join(words.split()))
    text = "".join(code(part) if number % 2 else _plain(part) for number, part in enumerate(parts))
    return text.replace("'`", "`").replace("`'", "`")


def _plain(words: str) -> str:
    return re.sub(r"([*_`\\])", r"\\\1", words).replace("<", "&lt;")
