"""Options may stand before, between and behind a command's names, in every command, on a terminal and in a call."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import BaseCommand

from sessions_dynamo.management import commands
from sessions_dynamo.management.base import SessionsCommand

NAMES: Final[dict[str, tuple[list[str], dict[str, Any]]]] = {
    # By command: its positionals, and what they are read as.
    "dynamodb_backup": (["delete", "one", "two"], {"action": "delete", "backups": ["one", "two"]}),
    "dynamodb_restore": (["one"], {"backup": "one"}),
    "sessions_export": (["a.jsonl"], {"file": "a.jsonl"}),
    "sessions_import": (["a.jsonl"], {"file": "a.jsonl"}),
    "sessions_restore": (["abc"], {"session": "abc"}),
}
OPTIONS: Final[dict[str, tuple[list[list[str]], dict[str, Any]]]] = {
    # Of each one that takes a value and one that takes none.
    "dynamodb_backup": ([["--yes"], ["--region", "eu-west-1"]], {"yes": True, "region": "eu-west-1"}),
    "dynamodb_restore": ([["--plan"], ["--to", "copy"]], {"plan": True, "to": "copy"}),
    "sessions_export": ([["--overwrite"], ["--session", "abc"]], {"overwrite": True, "session": "abc"}),
    "sessions_import": ([["--dry-run"], ["--region", "eu-west-1"]], {"dry_run": True, "region": "eu-west-1"}),
    "sessions_restore": ([["--keep-ttl"], ["--from", "a.jsonl"]], {"keep_ttl": True}),
}
COMMANDS: Final = sorted(
    path.stem for path in Path(commands.__path__[0]).glob("*.py") if not path.stem.startswith(("_", "runserver"))
)


def command(name: str) -> BaseCommand:
    return load_command_class("sessions_dynamo", name)


def read(name: str, words: list[str]) -> dict[str, Any]:
    """What a command reads from the words behind its name."""
    return vars(command(name).create_parser("manage.py", name).parse_args(words))


def with_positionals(name: str) -> bool:
    parser = command(name).create_parser("manage.py", name)
    return any(not action.option_strings for action in parser._actions)


def test_every_command_with_names_is_looked_at() -> None:
    assert [name for name in COMMANDS if with_positionals(name)] == sorted(NAMES)
    assert all(isinstance(command(name), SessionsCommand) for name in COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_options_stand_anywhere(name: str) -> None:
    (words, named), (options, chosen) = NAMES[name], OPTIONS[name]
    flat = [word for option in options for word in option]
    for place in range(len(words) + 1):
        found = read(name, [*words[:place], *flat, *words[place:]])
        assert {key: found[key] for key in (named | chosen)} == named | chosen
    # One option before the first name, the other before the last.
    found = read(name, [*options[0], *words[:-1], *options[1], words[-1]])
    assert {key: found[key] for key in (named | chosen)} == named | chosen


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_as_argparse_writes_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = command(name).create_parser("manage.py", name)
    whole = parser.format_help()
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == whole
    assert "SUPPRESS" not in whole


def test_what_no_command_takes_is_named() -> None:
    with pytest.raises(CommandError, match="unrecognized arguments: --no-such-option"):
        read("dynamodb_backup", ["delete", "one", "--no-such-option"])
    with pytest.raises(CommandError, match="unrecognized arguments: surplus"):
        read("dynamodb_status", ["surplus", "--json"])
    with pytest.raises(CommandError, match="the following arguments are required: file"):
        read("sessions_export", ["--overwrite"])
    with pytest.raises(CommandError, match="argument action: invalid choice: 'remove'"):
        read("dynamodb_backup", ["--yes", "remove", "one"])
    with pytest.raises(CommandError, match="required: --from"):
        read("sessions_restore", ["abc"])


def test_an_error_on_a_terminal_shows_the_usage_with_the_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command("dynamodb_backup").run_from_argv(["manage.py", "dynamodb_backup", "delete", "--no-such-option"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "[BACKUP ...]" in said
    assert "unrecognized arguments: --no-such-option" in said


def test_what_looks_like_an_option_is_a_name_behind_two_dashes() -> None:
    assert read("sessions_export", ["--overwrite", "--", "-odd.jsonl"])["file"] == "-odd.jsonl"
    assert read("sessions_export", ["-"])["file"] == "-"


def test_code_may_call_with_options_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(
        type(command("dynamodb_backup")), "handle", lambda _self, *_args, **options: heard.append(options)
    )
    call_command("dynamodb_backup", "delete", "one", yes=True, stdout=io.StringIO())
    call_command("dynamodb_backup", "delete", "--yes", "one", stdout=io.StringIO())
    call_command("dynamodb_backup", stdout=io.StringIO())
    assert [(options["action"], options["backups"], options["yes"]) for options in heard] == [
        *[("delete", ["one"], True)] * 2,
        ("create", [], False),
    ]
