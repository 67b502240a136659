"""Events of a schedule: the commands that they run, within the function's time, and what they are told they may not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
from pytest_django import Settings

from mcpsite.aws_lambda import scheduled
from mcpsite.aws_lambda.scheduled import CommandFailed
from sessions_dynamo.backups import on_demand
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_moto
from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import CONTEXT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


RULE: Final = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-10-08T16:53:06Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/expire"],
    "detail": {},
}


@pytest.fixture
def expired(dynamodb: DynamoDBClient, settings: Settings) -> str:
    """A session that is past its ttl."""
    store = SessionStore.from_settings()
    session = store.create("expired", principal="", protocol_version="2025-11-25", client_params={})
    past = datetime.now(UTC) - timedelta(days=30)
    dynamodb.update_item(
        TableName=settings.DYNAMODB_SESSIONS_TABLE,
        Key={"session_id": {"S": session.session_id}},
        UpdateExpression="SET #ttl = :past, last_activity = :ms",
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues={
            ":past": {"N": str(int(past.timestamp()))},
            ":ms": {"N": str(int(past.timestamp() * 1000))},
        },
    )
    return session.session_id


@pytest.mark.parametrize("event", [RULE, {"command": "sessions_expire"}], ids=["rule", "command"])
def test_what_has_expired_is_deleted(
    handler: Handler, event: dict[str, Any], expired: str, dynamodb: DynamoDBClient, settings: Settings
) -> None:
    done = handler(event, CONTEXT)
    assert done["command"] == "sessions_expire"
    assert done["result"]["outcome"] == "complete"
    assert done["result"]["sessions"] == 1
    table = settings.DYNAMODB_SESSIONS_TABLE
    assert "Item" not in dynamodb.get_item(TableName=table, Key={"session_id": {"S": expired}})
    json.dumps(done)


def test_arguments_are_the_commands_own(handler: Handler, expired: str) -> None:
    done = handler({"command": "sessions_expire", "arguments": ["--dry-run"]}, CONTEXT)
    assert (done["result"]["dry_run"], done["result"]["sessions"]) == (True, 1)


def test_the_tables_status(handler: Handler, dynamodb: DynamoDBClient) -> None:
    done = handler({"command": "dynamodb_status"}, CONTEXT)
    assert len(done["result"]["tables"]) == 2


@on_moto
def test_the_days_backups_are_made_and_older_ones_taken_away(handler: Handler, dynamodb: DynamoDBClient) -> None:
    older = on_demand.ask(named_tables(), datetime(2025, 1, 31, tzinfo=UTC), client=dynamodb, daily=True)
    event = {"command": "dynamodb_backup", "arguments": ["daily", "--keep", "1"]}

    done = handler(event, CONTEXT)

    assert [backup["status"] for backup in done["result"]["backups"]] == ["AVAILABLE"] * 2
    assert {backup["name"] for backup in done["result"]["deleted"]} == {backup.name for backup in older}
    assert handler(event, CONTEXT)["result"] == {"backups": done["result"]["backups"], "deleted": []}


@pytest.mark.parametrize(("more", "given"), [([], ["--seconds", "50.0"]), (["--no-wait"], ["--no-wait"])])
def test_backups_are_waited_for_no_longer_than_the_function_lives(
    monkeypatch: pytest.MonkeyPatch, more: list[str], given: list[str]
) -> None:
    heard: list[str] = []

    def call_command(name: str, *arguments: str, stdout: Any, **_: Any) -> None:
        heard.extend(arguments)
        stdout.write('{"backups": [], "deleted": []}')

    monkeypatch.setattr(scheduled, "call_command", call_command)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    scheduled.run(scheduled.Asked("dynamodb_backup", ("daily", *more)), context)

    assert heard == ["daily", *given, "--json"]


@pytest.mark.parametrize(
    ("arguments", "remaining", "seconds"),
    [
        ([], 900.0, 890.0),
        ([], 20.0, 16.0),
        (["--seconds", "5"], 60.0, 5.0),
        (["--seconds=500"], 60.0, 50.0),
        ([], 0.5, 1.0),
    ],
)
def test_it_stops_before_the_function_does(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], remaining: float, seconds: float
) -> None:
    given: list[str] = []

    def call_command(name: str, *arguments: str, stdout: Any, **_: Any) -> None:
        given.extend(arguments)
        stdout.write('{"outcome": "stopped", "sessions": 3}')

    monkeypatch.setattr(scheduled, "call_command", call_command)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000))
    done = scheduled.run(scheduled.Asked("sessions_expire", tuple(arguments)), context)
    assert float(given[len(given) - 1 - given[::-1].index("--seconds") + 1]) == seconds
    assert done["note"] == "The function's time, or a limit, was reached: the next run goes on."


def test_metrics_that_a_command_prints_go_to_the_log(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = '{"_aws": {"Timestamp": 1}, "BackupAge": 3}'

    def call_command(name: str, *arguments: str, stdout: Any, **_: Any) -> None:
        assert arguments == ("--emf",)
        stdout.write(f"{line}\n{line}\n")

    monkeypatch.setattr(scheduled, "call_command", call_command)
    done = handler({"command": "dynamodb_status", "arguments": ["--emf"]}, CONTEXT)
    assert done == {"command": "dynamodb_status", "lines": 2}
    assert capsys.readouterr().out == f"{line}\n{line}\n"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"command": "dynamodb_teardown"}, "'dynamodb_teardown' is no command that runs in a function: it is one of"),
        ({"command": ["x"]}, "is no command"),
        ({"command": "dynamodb_backup"}, "'dynamodb_backup' is no command"),
        (
            {"command": "dynamodb_backup", "arguments": ["delete", "name", "--yes"]},
            "'dynamodb_backup delete' is no command that runs in a function",
        ),
        ({"command": "dynamodb_backup", "arguments": ["daily", "--keep", "none"]}, "'none' is no whole number over 0"),
        (
            {"command": "sessions_expire", "arguments": "--dry-run"},
            '"arguments" of sessions_expire are a list of texts',
        ),
        ({"command": "sessions_expire", "arguments": [1]}, "are a list of texts"),
        ({"command": "sessions_expire", "arguments": ["--nonsense"]}, "unrecognized arguments: --nonsense"),
        (
            {"command": "sessions_expire", "arguments": ["--sessions-table", "gone-1", "--events-table", "gone-2"]},
            "gone-1",
        ),
    ],
)
def test_what_cannot_be_run_says_so(
    handler: Handler, dynamodb: DynamoDBClient, event: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandFailed) as refused:
        handler(event, CONTEXT)
    assert said in str(refused.value)


def test_a_command_that_ends_with_a_status_is_a_failure(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    def call_command(*_: Any, stdout: Any, **__: Any) -> None:
        stdout.write("One table is missing.")
        raise SystemExit(1)

    monkeypatch.setattr(scheduled, "call_command", call_command)
    with pytest.raises(CommandFailed, match=r"ended with status 1 One table is missing\."):
        handler({"command": "dynamodb_status"}, CONTEXT)
