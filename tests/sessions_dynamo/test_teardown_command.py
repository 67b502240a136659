from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import tables
from tests.sessions_dynamo.wire import operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Terminal = Callable[..., list[str]]


def teardown(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_teardown", *arguments, stdout=out, no_color=True)
    return re.sub(" +", " ", out.getvalue())


def standing(client: DynamoDBClient) -> list[str]:
    names = {table.name for table in tables.named_tables()}
    return sorted(names & set(client.list_tables()["TableNames"]))


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    """The sessions table's name; it holds three items."""
    name = str(settings.DYNAMODB_SESSIONS_TABLE)
    for session_id in ("a", "b", "c"):
        dynamodb.put_item(TableName=name, Item={"session_id": {"S": session_id}})
    return name


@pytest.fixture
def events(settings: Settings) -> str:
    return str(settings.DYNAMODB_EVENTS_TABLE)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Somebody at a terminal who gives these answers; returns the questions that were asked."""

    def answers(*given: str) -> list[str]:
        left, asked = list(given), []

        def ask(question: str) -> str:
            asked.append(question)
            return left.pop(0)

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", ask)
        return asked

    return answers


def test_off_a_terminal_no_option_is_an_error_that_lists_them(dynamodb: DynamoDBClient) -> None:
    with pytest.raises(CommandError, match="--clear-data, --disable-streams, --delete"):
        teardown()


def test_shows_what_exists_first(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    printed = teardown("--disable-streams")

    assert re.search(f"^{sessions}: ACTIVE, 3 items, .* bytes, stream on$", printed, re.M)
    assert re.search(f"^{events}: ACTIVE, 0 items, .* bytes, stream on$", printed, re.M)
    assert f"{sessions} stream changed off" in printed


def test_clears_the_data_and_counts_it(dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
    printed = teardown("--clear-data", "--yes")

    assert f"{sessions} items deleted 3 items" in printed
    assert f"{events} items unchanged 0 items" in printed
    assert dynamodb.scan(TableName=sessions)["Count"] == 0
    assert len(standing(dynamodb)) == 2


def test_a_table_whose_stream_is_off_can_still_be_written(dynamodb: DynamoDBClient, sessions: str) -> None:
    teardown("--disable-streams")

    dynamodb.put_item(TableName=sessions, Item={"session_id": {"S": "a"}})


def test_does_all_at_once_in_the_order_that_loses_nothing_unasked(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    printed = teardown("--delete", "--disable-streams", "--clear-data", "--yes")

    assert re.findall(r"(items deleted|stream changed|table deleted)", printed) == [
        "items deleted",
        *["stream changed"] * 2,
        *["table deleted"] * 2,
    ]
    assert standing(dynamodb) == []
    assert f"{sessions}: does not exist" in teardown("--delete", "--yes")


@pytest.mark.parametrize("option", ["--clear-data", "--delete"])
def test_off_a_terminal_losing_data_needs_yes(dynamodb: DynamoDBClient, sessions: str, option: str) -> None:
    with operations(dynamodb) as sent, pytest.raises(CommandError, match="add --yes"):
        teardown(option)

    assert writes(sent) == []


def test_on_a_terminal_deletion_needs_each_tables_name(
    dynamodb: DynamoDBClient, sessions: str, events: str, terminal: Terminal
) -> None:
    asked = terminal(sessions, events)

    teardown("--delete")

    assert [name in question for name, question in zip((sessions, events), asked, strict=True)] == [True, True]
    assert standing(dynamodb) == []


def test_another_word_than_the_tables_name_changes_nothing(
    dynamodb: DynamoDBClient, sessions: str, events: str, terminal: Terminal
) -> None:
    terminal(sessions, "yes")

    with operations(dynamodb) as sent, pytest.raises(CommandError, match="Nothing was changed"):
        teardown("--delete")

    assert writes(sent) == []


def test_on_a_terminal_no_option_asks_with_a_numbered_menu(
    dynamodb: DynamoDBClient, sessions: str, terminal: Terminal
) -> None:
    terminal("2")

    printed = teardown()

    assert "1. delete all items, keep the tables" in printed
    assert "2. turn off DynamoDB Streams" in printed
    assert "3. delete the tables" in printed
    assert f"{sessions} stream changed off" in printed


@pytest.mark.parametrize("answer", ["", "4", "2,x"])
def test_no_choice_or_an_unknown_one_changes_nothing(
    dynamodb: DynamoDBClient, sessions: str, terminal: Terminal, answer: str
) -> None:
    terminal(answer)

    with operations(dynamodb) as sent:
        if answer:
            with pytest.raises(CommandError, match="There is no choice"):
                teardown()
        else:
            teardown()

    assert writes(sent) == []


def test_refuses_before_anything_is_lost_when_a_table_is_protected(
    dynamodb: DynamoDBClient, sessions: str, events: str
) -> None:
    dynamodb.update_table(TableName=events, DeletionProtectionEnabled=True)

    with operations(dynamodb) as sent, pytest.raises(CommandError) as refused:
        teardown("--clear-data", "--delete", "--yes")

    lift = f"aws dynamodb update-table --region eu-west-1 --table-name {events} --no-deletion-protection-enabled"
    assert lift in str(refused.value)
    assert writes(sent) == []
