from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo.backups import on_demand
from sessions_dynamo.client import aws_client
from sessions_dynamo.client import dynamodb as dynamodb_client
from sessions_dynamo.operations import run
from sessions_dynamo.store import batches
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.killed import KILLED
from tests.sessions_dynamo.tables.aspects.aws import EVENTS, HOME, StubbedAws, replica
from tests.sessions_dynamo.terminal import CTRL_C, CTRL_D, ROOT, terminal
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Answers = Callable[..., list[str]]

EVERYTHING = ("--clear-data", "--disable-streams", "--delete", "--yes")
SCALING = "application-autoscaling"
GLOBAL = ("--region", HOME, "--sessions-table", "none", "--events-table", EVENTS.name)
"""Of two tables only one exists, a global one."""
WRITES = 6
"""Of a whole run over the tables that ``fill`` makes: a batch, a stream and a deletion for each."""


def teardown(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    out = io.StringIO()
    call_command("dynamodb_teardown", *arguments, stdout=out, no_color=True)
    return re.sub(" +", " ", out.getvalue())


def standing(client: DynamoDBClient) -> list[str]:
    names = {table.name for table in named_tables()}
    return sorted(names & set(client.list_tables()["TableNames"]))


def held(client: DynamoDBClient, table: str) -> int:
    return client.scan(TableName=table, Select="COUNT", ConsistentRead=True)["Count"]


@pytest.fixture
def sessions(settings: Settings, dynamodb: DynamoDBClient) -> str:
    """The sessions table's name; it holds three items."""
    name = str(settings.DYNAMODB_SESSIONS_TABLE)
    run(dynamodb, batches.put(name, ({"session_id": {"S": session_id}} for session_id in "abc")))
    return name


@pytest.fixture
def events(settings: Settings) -> str:
    return str(settings.DYNAMODB_EVENTS_TABLE)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Somebody at a terminal who gives these answers; returns the questions that were asked."""

    def give(*given: str) -> list[str]:
        left, asked = list(given), []

        def ask(question: str) -> str:
            asked.append(question)
            return left.pop(0)

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", ask)
        return asked

    return give


@contextmanager
def hooked(client: DynamoDBClient, event: str, handler: Callable[..., None]) -> Iterator[None]:
    """Calls the handler at every such event of the client."""
    client.meta.events.register(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)


class TestOptions:
    def test_what_exists_is_shown_first_then_the_plan_the_steps_and_what_now_stands(
        self, engine: tuple[str, str], dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        lines = teardown("--disable-streams").splitlines()

        assert lines[0] == f"DynamoDB: region eu-west-1, endpoint {engine[1]}"
        assert re.fullmatch(f"{sessions}: ACTIVE, 3 items, .* bytes, stream on", lines[1])
        assert re.fullmatch(f"{events}: ACTIVE, 0 items, .* bytes, stream on", lines[2])
        assert lines[3:5] == [f"Plan: turn off the stream of {name}" for name in (sessions, events)]
        assert lines[5:7] == [f"{name} stream changed off" for name in (sessions, events)]
        assert lines[7] == "Now:"
        assert re.fullmatch(f"{sessions}: ACTIVE, 3 items, .* bytes, stream off", lines[8])
        assert lines[10:] == ["To make the tables, or their streams, again: python manage.py dynamodb_setup"]

    def test_clear_data_empties_the_tables_and_counts(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        printed = teardown("--clear-data", "--yes")

        assert re.search(rf"^{sessions} items deleted 3 items in \d+ s, [\d,]+ a second$", printed, re.M)
        assert re.search(f"^{events} items unchanged none$", printed, re.M)
        assert re.search(f"^{sessions}: ACTIVE, 0 items, stream on$", printed, re.M)
        assert (held(dynamodb, sessions), len(standing(dynamodb))) == (0, 2)

    def test_clear_data_says_what_was_written_meanwhile_and_how_to_go_on(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        def write(params: dict[str, Any], **_: Any) -> None:
            if params.get("Select") == "COUNT" and params["TableName"] == sessions:
                run(dynamodb, batches.put(sessions, ({"session_id": {"S": session_id}} for session_id in "de")))

        # After the last deletion, before the count of what is left.
        with hooked(dynamodb, "before-parameter-build.dynamodb.Scan", write):
            printed = teardown("--clear-data", "--yes")

        assert f"{sessions} items deleted 3 items" in printed
        assert "; 2 items written meanwhile, and still there" in printed
        assert f"{sessions}: ACTIVE, 2 items, stream on" in printed
        assert printed.splitlines()[-1] == (
            "Next: stop the servers that write, then python manage.py dynamodb_teardown --clear-data --yes"
        )

    @on_moto
    def test_backup_makes_one_set_and_says_how_to_restore_it(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        printed = teardown("--backup")

        (made,) = on_demand.sets(client=dynamodb)
        assert made.complete
        assert f"Plan: back up {sessions}" in printed
        assert f"{sessions} backup created {sessions}-backup-{made.stamp}, AVAILABLE" in printed
        assert printed.splitlines()[-1] == (
            f"To restore the backups: python manage.py dynamodb_restore --set {made.stamp}"
        )
        assert held(dynamodb, sessions) == 3

    def test_delete_waits_until_the_tables_are_gone(self, dynamodb: DynamoDBClient, sessions: str, events: str) -> None:
        printed = teardown("--delete", "--yes")

        assert [line for line in printed.splitlines() if "deleted" in line] == [
            f"{sessions} table deleted",
            f"{events} table deleted",
        ]
        assert printed.count(f"{events}: does not exist") == 1
        assert standing(dynamodb) == []

    @on_moto
    def test_all_backs_up_and_then_deletes(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        printed = teardown("--all", "--yes")

        assert [word for _, word in re.findall(r"(backup|table) (created|deleted)", printed)] == [
            *["created"] * 2,
            *["deleted"] * 2,
        ]
        assert standing(dynamodb) == []
        assert on_demand.sets(client=dynamodb)[0].complete

    @on_moto
    def test_together_they_are_done_in_the_order_that_loses_nothing(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        with operations(dynamodb) as sent:
            teardown("--delete", "--disable-streams", "--clear-data", "--backup", "--yes")

        assert writes(sent) == [
            *["CreateBackup"] * 2,
            *["BatchWriteItem"] * writes(sent).count("BatchWriteItem"),
            *["UpdateTable"] * 2,
            *["DeleteTable"] * 2,
        ]

    @on_moto
    def test_tables_and_region_are_options(self, dynamodb: DynamoDBClient, settings: Settings, sessions: str) -> None:
        settings.DYNAMODB_SESSIONS_TABLE = "another"
        other = [*("--sessions-table", sessions), *("--events-table", "none-such")]

        elsewhere = teardown("--delete", *other, "--region", "us-west-2")
        assert elsewhere.startswith("DynamoDB: region us-west-2")
        assert f"{sessions}: does not exist" in elsewhere
        printed = teardown("--clear-data", "--yes", *other)
        settings.DYNAMODB_SESSIONS_TABLE = sessions

        assert f"{sessions} items deleted 3 items" in printed
        assert "none-such: does not exist" in printed

    @pytest.mark.parametrize("options", [(), ("--yes",)])
    def test_nothing_there_is_nothing_to_do(
        self, bare_dynamodb: DynamoDBClient, settings: Settings, options: tuple[str, ...]
    ) -> None:
        with operations(bare_dynamodb) as sent:
            printed = teardown("--all", "--clear-data", "--disable-streams", *options)

        assert f"{settings.DYNAMODB_EVENTS_TABLE}: does not exist" in printed
        assert printed.splitlines()[-1] == "Nothing was changed."
        assert writes(sent) == []

    @on_moto
    def test_what_aws_allows_only_later_is_pending_with_the_command_to_run_again(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        source = error("ValidationException", "it has acted as a source region for new replica(s) in the last 24 hours")

        with answering(dynamodb_client(HOME), "DeleteTable", source):
            printed = teardown("--all", "--yes", "--region", "eu-west-1", "--events-table", events)

        assert f"{events} table pending it has acted as a source region" in printed
        assert printed.splitlines()[-2:] == [
            "Some of it is pending.",
            f"Next: python manage.py dynamodb_teardown --delete --yes --events-table {events} --region eu-west-1",
        ]


class TestRefusals:
    def test_off_a_terminal_no_option_is_an_error_that_lists_them(self, dynamodb: DynamoDBClient) -> None:
        with pytest.raises(CommandError, match="--clear-data, --backup, --disable-streams, --delete, --all"):
            teardown()

    @pytest.mark.parametrize("option", ["--clear-data", "--delete", "--all"])
    def test_off_a_terminal_losing_data_needs_yes(self, dynamodb: DynamoDBClient, sessions: str, option: str) -> None:
        with operations(dynamodb) as sent, pytest.raises(CommandError, match="add --yes"):
            teardown(option)

        assert writes(sent) == []

    @pytest.mark.parametrize("given", ["yes", "", "SESSIONS"])
    def test_another_word_than_the_tables_name_changes_nothing(
        self, dynamodb: DynamoDBClient, sessions: str, answers: Answers, given: str
    ) -> None:
        answers(sessions, given)

        with operations(dynamodb) as sent, pytest.raises(CommandError, match="Nothing was changed"):
            teardown("--all")

        assert writes(sent) == []

    def test_on_a_terminal_deletion_needs_each_tables_name(
        self, dynamodb: DynamoDBClient, sessions: str, events: str, answers: Answers
    ) -> None:
        asked = answers(sessions, events)

        teardown("--delete")

        assert [name in question for name, question in zip((sessions, events), asked, strict=True)] == [True, True]
        assert standing(dynamodb) == []

    def test_a_protected_table_is_refused_before_anything_is_lost(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        dynamodb.update_table(TableName=events, DeletionProtectionEnabled=True)

        with operations(dynamodb) as sent, pytest.raises(CommandError) as refused:
            teardown("--backup", "--clear-data", "--delete", "--yes")

        lift = f"aws dynamodb update-table --region eu-west-1 --table-name {events} --no-deletion-protection-enabled"
        assert lift in str(refused.value)
        assert "dynamodb_setup --no-deletion-protection --region eu-west-1" in str(refused.value)
        assert writes(sent) == []

    def test_protection_does_not_stand_against_clearing(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        dynamodb.update_table(TableName=sessions, DeletionProtectionEnabled=True)

        assert "protected against deletion" in teardown("--clear-data", "--yes")
        assert held(dynamodb, sessions) == 0

    def test_a_table_of_somebody_elses_is_not_cleared(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        with operations(dynamodb) as sent, pytest.raises(CommandError, match="not this service's"):
            teardown("--clear-data", "--yes", "--sessions-table", events, "--events-table", sessions)

        assert writes(sent) == []

    @on_dynamodb_local
    @pytest.mark.parametrize("options", [("--all",), ("--backup", "--clear-data")])
    def test_without_backups_nothing_that_asked_for_one_is_done(
        self, dynamodb: DynamoDBClient, sessions: str, options: tuple[str, ...]
    ) -> None:
        with pytest.raises(CommandError) as refused:
            teardown(*options, "--yes")

        assert "sessions_export" in str(refused.value)
        assert "No table was changed" in str(refused.value)
        assert (held(dynamodb, sessions), len(standing(dynamodb))) == (3, 2)

    @on_moto
    @pytest.mark.parametrize("status", ["CREATING", "DELETED"])
    def test_a_backup_that_does_not_become_available_stops_the_deletion(
        self, dynamodb: DynamoDBClient, sessions: str, monkeypatch: pytest.MonkeyPatch, status: str
    ) -> None:
        monkeypatch.setattr(on_demand, "polls", lambda *_: iter([0.0, 0.0]))
        describe = dynamodb.describe_backup

        def never_available(**request: Any) -> Any:
            answer: Any = describe(**request)
            answer["BackupDescription"]["BackupDetails"]["BackupStatus"] = status
            return answer

        monkeypatch.setattr(dynamodb, "describe_backup", never_available)
        with operations(dynamodb) as sent, pytest.raises(CommandError, match="No table was changed"):
            teardown("--all", "--clear-data", "--yes")

        assert set(writes(sent)) == {"CreateBackup"}
        assert (held(dynamodb, sessions), len(standing(dynamodb))) == (3, 2)

    @on_moto
    def test_a_backup_that_is_denied_stops_the_deletion(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        denied = error("AccessDeniedException", "User is not authorized to perform: dynamodb:CreateBackup on it")

        with answering(dynamodb, "CreateBackup", denied), pytest.raises(CommandError, match="dynamodb:CreateBackup"):
            teardown("--all", "--yes")

        assert len(standing(dynamodb)) == 2

    def test_the_stream_that_replicas_need_stays_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with stubbed_aws(monkeypatch) as aws:
            aws.missing()
            aws.describe(Replicas=[replica("us-west-2")])
            with pytest.raises(CommandError, match="carries every write to the replicas in us-west-2"):
                teardown("--disable-streams", *GLOBAL)

            assert aws.writes == []


@contextmanager
def stubbed_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    """AWS itself, answered for; its account is of no interest here."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr("sessions_dynamo.management.console._account", lambda region: "111122223333")
    aws_client.cache_clear()
    yield StubbedAws()
    aws_client.cache_clear()


def test_a_global_tables_replicas_are_shown_planned_and_removed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with stubbed_aws(monkeypatch) as aws:
        aws.missing()
        aws.describe(Replicas=[replica("us-west-2")])
        aws.look("us-west-2")
        aws.describe(Replicas=[replica("us-west-2")])
        aws.look("us-west-2")
        aws.look(Replicas=[replica("us-west-2")])
        aws.answer("update_table", {})
        aws.look()
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING, region="us-west-2")
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING)
        aws.look()
        aws.answer("delete_table", {})
        aws.missing()
        aws.answer("describe_scalable_targets", {"ScalableTargets": []}, service=SCALING)
        aws.missing()
        aws.missing()

        printed = teardown("--delete", "--disable-streams", "--yes", *GLOBAL)

    assert "AWS refreshes the counts of items and bytes about every six hours." in printed
    assert "stream on, replicas in us-west-2" in printed
    assert f"Plan: delete table {EVENTS.name}, after its replicas in us-west-2" in printed
    assert f"{EVENTS.name} stream unchanged on, for the replicas in us-west-2" in printed
    assert f"{EVENTS.name} replica us-west-2 deleted" in printed
    assert [operation for _, operation, _ in aws.writes] == ["UpdateTable", "DeleteTable"]
    aws.finish()


class TestMenu:
    """At a real terminal: the command is a process of its own behind a pseudo-terminal."""

    @pytest.fixture
    def env(self, settings: Settings, sessions: str, events: str) -> dict[str, str]:
        return child_environment(settings) | {"TERM": "xterm"}

    @on_moto
    @pytest.mark.parametrize(
        ("choice", "confirmed", "outcome", "left", "items", "sets"),
        [
            ("1", True, "items deleted", 2, 0, 0),
            ("2", False, "backup created", 2, 3, 1),
            ("3", False, "stream changed", 2, 3, 0),
            ("4", True, "table deleted", 0, 0, 0),
            ("5", True, "table deleted", 0, 0, 1),
            ("3,2", False, "stream changed", 2, 3, 1),
        ],
    )
    def test_every_choice_does_what_it_says(
        self,
        dynamodb: DynamoDBClient,
        env: dict[str, str],
        sessions: str,
        events: str,
        choice: str,
        confirmed: bool,
        outcome: str,
        left: int,
        items: int,
        sets: int,
    ) -> None:
        with terminal("dynamodb_teardown", "--no-color", env=env) as screen:
            screen.wait_for("What to do")
            screen.type(f"{choice}\n")
            for name in (sessions, events) if confirmed else ():
                screen.wait_for(f"Type the table's name, {name}, to go on: ")
                screen.type(f"{name}\n")
            assert screen.end() == 0, screen.shown

        menu = [line for line in screen.shown.splitlines() if re.match(r"\d\. ", line)]
        assert menu == [
            "1. Clear data: delete every item, keep the tables",
            "2. Create backups",
            "3. Disable streams",
            "4. Delete the tables",
            "5. Full cleanup: create backups, then delete the tables",
            "6. Leave everything as it is",
        ]
        assert outcome in re.sub(" +", " ", screen.shown)
        assert len(standing(dynamodb)) == left
        assert sum(held(dynamodb, name) for name in standing(dynamodb)) == items
        assert len(on_demand.sets(client=dynamodb)) == sets

    @on_moto
    def test_a_wrong_choice_is_asked_for_again_and_six_leaves_all(
        self, dynamodb: DynamoDBClient, env: dict[str, str], sessions: str
    ) -> None:
        with terminal("dynamodb_teardown", env=env) as screen:
            screen.wait_for("What to do")
            screen.type("7, x\n")
            screen.wait_for("There is no choice 7, x: the choices are 1 to 6.")
            screen.wait_for("What to do")
            screen.type("6\n")
            assert screen.end() == 0

        assert screen.shown.endswith("Nothing was changed.\n")
        assert (held(dynamodb, sessions), len(standing(dynamodb))) == (3, 2)

    @pytest.mark.parametrize("answer", ["", " , "])
    def test_no_choice_leaves_all(self, dynamodb: DynamoDBClient, sessions: str, answers: Answers, answer: str) -> None:
        answers(answer)

        with operations(dynamodb) as sent:
            assert teardown().splitlines()[-1] == "Nothing was changed."

        assert writes(sent) == []

    @on_moto
    @pytest.mark.parametrize(
        ("question", "key", "status", "last"),
        [
            ("What to do", CTRL_D, 0, "Nothing was changed."),
            ("What to do", CTRL_C, 130, "Interrupted. Nothing was changed."),
            ("to go on: ", CTRL_C, 130, "Interrupted. Nothing was changed."),
        ],
    )
    def test_nothing_typed_changes_nothing_and_shows_no_traceback(
        self,
        dynamodb: DynamoDBClient,
        env: dict[str, str],
        sessions: str,
        question: str,
        key: str,
        status: int,
        last: str,
    ) -> None:
        option = ["--all"] if "go on" in question else []
        with terminal("dynamodb_teardown", "--no-color", *option, env=env) as screen:
            screen.wait_for(question)
            screen.type(key)
            assert screen.end() == status, screen.shown

        assert screen.shown.rstrip().endswith(last)
        assert "Traceback" not in screen.shown
        assert (held(dynamodb, sessions), len(standing(dynamodb))) == (3, 2)


class TestCutShort:
    def test_ctrl_c_after_any_write_leaves_what_the_same_command_completes(
        self, bare_dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE
        fill(bare_dynamodb, sessions, events)
        with operations(bare_dynamodb) as sent:
            teardown(*EVERYTHING)
        assert len(writes(sent)) == WRITES

        for last in range(1, WRITES + 1):
            fill(bare_dynamodb, sessions, events)
            seen = count(1)

            def interrupt(model: Any, seen: Iterator[int] = seen, last: int = last, **_: Any) -> None:
                if writes([model.name]) and next(seen) == last:
                    raise KeyboardInterrupt

            with hooked(bare_dynamodb, "after-call.dynamodb", interrupt), pytest.raises(CommandError) as ended:
                teardown(*EVERYTHING)

            assert ended.value.returncode == 130
            assert "Interrupted while" in str(ended.value)
            again = "python manage.py dynamodb_teardown --clear-data --disable-streams --delete --yes"
            assert str(ended.value).endswith(again)
            teardown(*EVERYTHING)
            assert standing(bare_dynamodb) == []

    @on_moto
    def test_a_kill_after_any_write_leaves_what_the_next_run_completes(
        self, bare_dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        sessions, events = settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE
        for last in range(1, WRITES + 1):
            fill(bare_dynamodb, sessions, events)
            command = [
                sys.executable,
                "-m",
                "tests.sessions_dynamo.killed",
                str(last),
                "dynamodb_teardown",
                *EVERYTHING,
            ]
            killed = subprocess.run(command, cwd=ROOT, env=child_environment(settings), stdout=subprocess.DEVNULL)
            assert killed.returncode == KILLED

            teardown(*EVERYTHING)

            assert standing(bare_dynamodb) == []

    @on_moto
    def test_a_full_cleanup_that_was_killed_between_the_tables_backs_up_and_deletes_the_other(
        self, dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        dynamodb.delete_table(TableName=sessions)

        printed = teardown("--all", "--yes")

        assert f"{sessions}: does not exist" in printed
        assert f"{events} backup created" in printed
        assert standing(dynamodb) == []

    def test_how_many_items_were_deleted_is_told_when_clearing_is_cut_short(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        out, denied = io.StringIO(), error("AccessDeniedException", "not authorized to perform: dynamodb:Scan on it")

        with answering(dynamodb, "Scan", denied), pytest.raises(CommandError, match="dynamodb:Scan"):
            call_command("dynamodb_teardown", "--clear-data", "--yes", stdout=out)

        assert f"{sessions}: 0 items deleted, then it was cut short" in out.getvalue()


def fill(client: DynamoDBClient, sessions: str, events: str) -> None:
    """Both tables, with a session and two events of it: one batch for each table, as one segment holds a session."""
    setup.ensure_tables(client=client)
    run(client, batches.put(sessions, [{"session_id": {"S": "a"}}]))
    run(client, batches.put(events, ({"session_id": {"S": "a"}, "event_id": {"S": event}} for event in "12")))


def child_environment(settings: Settings) -> dict[str, str]:
    """What a process of its own needs to work on this test's tables."""
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "mcpsite.settings",
        "DYNAMODB_EMBEDDED": "false",
        "DYNAMODB_SESSIONS_TABLE": settings.DYNAMODB_SESSIONS_TABLE,
        "DYNAMODB_EVENTS_TABLE": settings.DYNAMODB_EVENTS_TABLE,
    }
