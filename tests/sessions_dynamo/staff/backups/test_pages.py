"""The backups page: what there is, made, deleted, and restored to new tables that serve as their sources did."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from sessions_dynamo.backups import daily, descriptions, jobs, on_demand
from sessions_dynamo.client import dynamodb as client_of
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.names import named_tables
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

MAX_REQUESTS = 14
"""What a staff page may ask of DynamoDB: one Query a shard, and six more."""
BACKUPS = "/admin/backups/"


@pytest.fixture
def manager(staff_client: Callable[..., Client]) -> Client:
    return staff_client("view_session", "manage_backups")


@pytest.fixture
def quick(bare_dynamodb: DynamoDBClient) -> DynamoDBClient:
    """The client that pages read through."""
    return client_of(quick=True)


def names() -> list[str]:
    return [table.name for table in named_tables()]


def made() -> list[descriptions.Backup]:
    return [backup for name in names() for backup in on_demand.list_backups(name)]


def text(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def post(client: Client, name: str, **form: Any) -> Any:
    return client.post(reverse(f"mcp_staff:{name}"), {"confirmed": "yes", **form}, follow=True)


@contextmanager
def refusing_restore_of(client: DynamoDBClient, name: str, answer: dict[str, Any]) -> Iterator[None]:
    """Answers in AWS's place when a table of this name shall be restored."""

    def reply(params: Any, **_: Any) -> Any:
        return (AWSResponse("", 400, HTTPHeaders(), None), answer) if name in str(params["body"]) else None

    event = "before-call.dynamodb.RestoreTableFromBackup"
    client.meta.events.register(event, reply)
    try:
        yield
    finally:
        client.meta.events.unregister(event, reply)


def restored_by_aws(client: DynamoDBClient, name: str) -> str:
    """A table that AWS has restored, as it leaves it: without stream, TTL and tags."""
    (backup,) = on_demand.create(named_tables()[:1])
    client.restore_table_from_backup(TargetTableName=name, BackupArn=backup.arn)
    return name


@on_moto
class TestList:
    def test_without_backups_it_says_how_to_make_one(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        shown = text(manager.get(BACKUPS))
        assert "No backups yet" in shown
        assert reverse("mcp_staff:backups-create") in shown

    def test_a_set_is_one_row_of_both_tables(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        made = on_demand.create()
        shown = text(manager.get(BACKUPS))
        for backup in made:
            assert backup.name in shown
        assert f"?set={made[0].stamp}" in shown
        assert len(re.findall(r"Restore…", shown)) == 1

    def test_what_a_schedule_will_delete_is_told_from_what_it_leaves(
        self, dynamodb: DynamoDBClient, manager: Client
    ) -> None:
        on_demand.create()
        assert "daily" not in text(manager.get(BACKUPS))
        daily.make(named_tables(), datetime.now(UTC), client=dynamodb)

        shown = text(manager.get(BACKUPS))

        assert len(re.findall(r'<span class="badge[^>]*>daily<', shown)) == 1
        assert "deletes the ones of older days" in shown

    def test_half_a_set_is_not_offered_as_a_whole_one(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        on_demand.create(named_tables()[:1])
        shown = text(manager.get(BACKUPS))
        assert "one table only" in shown
        assert "?set=" not in shown
        assert "?backup=arn" in shown

    def test_a_backup_that_is_being_made_is_looked_at_again(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, manager: Client
    ) -> None:
        on_demand.create()
        listed: Any = dynamodb.list_backups(TableName=names()[0])
        listed["BackupSummaries"][0]["BackupStatus"] = "CREATING"
        with answering(quick, "ListBackups", listed, times=1):
            shown = text(manager.get(BACKUPS))
        assert "CREATING" in shown
        assert "looked at again every" in shown
        assert "?set=" not in shown

    def test_what_may_not_be_read_leaves_the_rest(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, manager: Client
    ) -> None:
        for operation in ("ListBackups", "ListTables", "DescribeContinuousBackups"):
            with answering(quick, operation, error("AccessDeniedException", "no")):
                shown = text(manager.get(BACKUPS))
            assert f"dynamodb:{operation} is needed" in shown
            assert "Restored tables" in shown

    def test_backups_of_a_table_that_is_gone_are_found_by_its_name(
        self, dynamodb: DynamoDBClient, manager: Client, settings: Settings
    ) -> None:
        former, made = names()[0], on_demand.create()
        settings.DYNAMODB_SESSIONS_TABLE = "another"
        assert made[0].name not in text(manager.get(BACKUPS))
        assert made[0].name in text(manager.get(BACKUPS, {"table": former}))
        assert "is no table name" in text(manager.get(BACKUPS, {"table": "<script>../"}))
        settings.DYNAMODB_SESSIONS_TABLE = former

    def test_the_page_costs_the_same_few_requests(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, manager: Client
    ) -> None:
        for _ in range(3):
            on_demand.create()
        with operations(quick) as sent, operations(dynamodb) as others:
            manager.get(BACKUPS)
        assert len(sent) + len(others) <= MAX_REQUESTS
        assert writes(sent + others) == []

    def test_whoever_may_not_sees_no_button(self, dynamodb: DynamoDBClient, viewer: Client) -> None:
        on_demand.create()
        shown = text(viewer.get(BACKUPS))
        for name in ("create", "delete", "restore"):
            assert f'href="{reverse(f"mcp_staff:backups-{name}")}' not in shown
            assert post(viewer, f"backups-{name}").status_code == 403


@on_dynamodb_local
class TestWithoutBackups:
    def test_an_engine_that_has_none_names_the_alternative(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        shown = text(manager.get(BACKUPS))
        assert "has no backups" in shown
        assert "sessions_export" in shown
        assert reverse("mcp_staff:backups-create") not in shown
        assert post(manager, "backups-create").status_code == 501
        assert not LogEntry.objects.exists()


@on_moto
class TestCreate:
    def test_both_tables_are_backed_up_under_one_stamp(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        question = text(manager.get(reverse("mcp_staff:backups-create")))
        assert all(name in question for name in names())
        assert made() == []

        answer = post(manager, "backups-create")

        assert {backup.table for backup in made()} == set(names())
        assert len({backup.stamp for backup in made()}) == 1
        assert all(backup.name in text(answer) for backup in made())
        assert {entry.object_id for entry in LogEntry.objects.all()} == {backup.arn for backup in made()}

    def test_half_a_set_is_told_and_on_record(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        first: Any = dynamodb.create_backup(TableName=names()[0], BackupName="first")
        refusal = error("InternalServerError", "no more")
        with answering(dynamodb, "CreateBackup", first, times=1), answering(dynamodb, "CreateBackup", refusal):
            answer = post(manager, "backups-create")
        assert answer.status_code == 400
        assert "perhaps usable: first" in text(answer)
        assert "not all made" in LogEntry.objects.get().change_message


@on_moto
class TestDelete:
    def test_a_set_is_deleted_after_a_question_that_names_both(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        kept, gone = on_demand.create(at=datetime(2025, 1, 31, tzinfo=UTC)), on_demand.create()
        arns = [backup.arn for backup in gone]
        question = text(manager.get(reverse("mcp_staff:backups-delete"), {"backup": arns}))
        assert all(backup.name in question for backup in gone)
        assert len(made()) == 4

        answer = post(manager, "backups-delete", backup=arns)

        assert {backup.arn for backup in made()} == {backup.arn for backup in kept}
        assert all(backup.name in text(answer) for backup in gone)
        entries = LogEntry.objects.filter(action_flag=DELETION)
        assert {entry.object_id for entry in entries} == set(arns)
        assert post(manager, "backups-delete", backup=arns).status_code == 404

    @pytest.mark.parametrize("arn", ["", "x", "arn:aws:dynamodb:::table/<b>/backup/../..", "\u202e", "x" * 3000])
    def test_what_is_no_backup_is_refused(self, dynamodb: DynamoDBClient, manager: Client, arn: str) -> None:
        answer = post(manager, "backups-delete", backup=arn)
        assert 400 <= answer.status_code <= 404
        assert "<b>" not in answer.content.decode()

    def test_a_backup_of_some_other_table_is_not_ours_to_delete(
        self, dynamodb: DynamoDBClient, manager: Client
    ) -> None:
        dynamodb.create_table(
            TableName="foreign",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        arn = dynamodb.create_backup(TableName="foreign", BackupName="theirs")["BackupDetails"]["BackupArn"]
        assert post(manager, "backups-delete", backup=arn).status_code == 400
        assert on_demand.describe(arn).backup.name == "theirs"
        dynamodb.delete_table(TableName="foreign")


@on_moto
class TestRestore:
    def test_a_set_is_restored_to_new_tables_after_its_plan(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        source = names()[0]
        dynamodb.put_item(TableName=source, Item={"session_id": {"S": "a"}})
        arn = str(describe(source).arn)
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "CostCenter", "Value": "<b>7</b>"}])
        stamp = str(on_demand.create()[0].stamp)
        targets = [f"{name}-restored-{stamp}" for name in names()]

        plan = manager.get(reverse("mcp_staff:backups-restore"), {"set": stamp})
        assert "tags CostCenter=&lt;b&gt;7&lt;/b&gt;" in plan.content.decode()
        assert all(target in text(plan) for target in targets)
        # A set of empty tables is told by its size.
        assert len(re.findall(r"<dt>Made</dt><dd><time .*?</time>, \d+", plan.content.decode())) == 2
        assert jobs.names()[0] == []

        answer = post(manager, "backups-restore", set=stamp)

        assert set(jobs.names()[0]) == set(targets)
        assert answer.request["PATH_INFO"] == reverse("mcp_staff:backups-restored")
        assert f"DYNAMODB_SESSIONS_TABLE={targets[0]}\nDYNAMODB_EVENTS_TABLE={targets[1]}" in text(answer)
        live = describe(targets[0])
        assert live.stream.enabled
        assert dict(live.tags or {})["CostCenter"] == "<b>7</b>"
        assert dynamodb.get_item(TableName=targets[0], Key={"session_id": {"S": "a"}})["Item"]
        restored = LogEntry.objects.filter(action_flag=ADDITION)
        assert {entry.object_id for entry in restored} == set(targets)
        for target in targets:
            assert "complete" in text(manager.get(answer.request["PATH_INFO"], {"table": target}))
        assert all(target in text(manager.get(BACKUPS)) for target in targets)
        for target in targets:
            dynamodb.delete_table(TableName=target)

    def test_the_new_tables_get_the_names_that_were_chosen(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        (backup, _) = on_demand.create()
        name = f"chosen.{names()[0]}"
        plan = text(manager.get(reverse("mcp_staff:backups-restore"), {"backup": backup.arn, "sessions_to": name}))
        assert f'name="sessions_to" value="{name}"' in plan
        post(manager, "backups-restore", backup=backup.arn, sessions_to=name)
        assert jobs.find(name).source == names()[0]
        dynamodb.delete_table(TableName=name)

    @pytest.mark.parametrize(
        ("asked", "why"),
        [
            ({}, "Nothing is named to restore"),
            ({"set": "20250131-134507"}, "no complete set"),
            ({"set": "<script>"}, "no complete set"),
            ({"backup": "nonsense"}, "no backup's ARN"),
            ({"at": "yesterday"}, "is no time"),
            ({"at": "latest"}, "is off"),
            ({"at": "latest", "table": "another"}, "neither the sessions nor the events table"),
        ],
    )
    def test_what_cannot_be_restored_says_why(
        self, dynamodb: DynamoDBClient, manager: Client, asked: dict[str, str], why: str
    ) -> None:
        for answer in (
            manager.get(reverse("mcp_staff:backups-restore"), asked),
            post(manager, "backups-restore", **asked),
        ):
            assert answer.status_code == 400
            assert why in text(answer)
            assert "<script>" not in re.sub(r"<script [^>]*>", "", answer.content.decode()).split("<main")[-1]

    def test_a_table_that_stands_is_never_restored_over(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        (backup, _) = on_demand.create()
        asked = {"backup": backup.arn, "sessions_to": names()[0]}
        assert "choose another name" in text(manager.get(reverse("mcp_staff:backups-restore"), asked))
        assert post(manager, "backups-restore", **asked).status_code == 400
        assert f'value="{names()[0]}"' in text(post(manager, "backups-restore", **asked))
        wrong = {"set": str(backup.stamp), "sessions_to": "same", "events_to": "same"}
        assert "cannot be named same" in text(post(manager, "backups-restore", **wrong))
        assert "is no table name" in text(post(manager, "backups-restore", backup=backup.arn, sessions_to="a b"))

    def test_a_time_within_the_window_is_restored(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        for name in names():
            dynamodb.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
        assert "Restore to (UTC)" in text(manager.get(BACKUPS))
        late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        assert "cannot be restored to" in text(manager.get(reverse("mcp_staff:backups-restore"), {"at": late}))

        answer = post(manager, "backups-restore", at="latest", table=names()[0])

        (target,) = jobs.names()[0]
        assert jobs.find(target).backup_arn is None
        assert "point-in-time recovery" in text(answer)
        dynamodb.delete_table(TableName=target)

    def test_the_plan_costs_few_requests(
        self, dynamodb: DynamoDBClient, quick: DynamoDBClient, manager: Client
    ) -> None:
        stamp = str(on_demand.create()[0].stamp)
        with operations(quick) as sent, operations(dynamodb) as others:
            manager.get(reverse("mcp_staff:backups-restore"), {"set": stamp})
        assert len(sent) + len(others) <= MAX_REQUESTS
        assert writes(sent + others) == []

    def test_the_second_table_that_aws_refuses_leaves_the_first_on_its_way(
        self, dynamodb: DynamoDBClient, manager: Client
    ) -> None:
        stamp = str(on_demand.create()[0].stamp)
        busy = error("LimitExceededException", "too many restores")
        first, second = (f"{name}-restored-{stamp}" for name in names())
        with refusing_restore_of(dynamodb, second, busy):
            answer = post(manager, "backups-restore", set=stamp)
        assert "too many restores" in text(answer)
        assert jobs.names()[0] == [first]
        assert LogEntry.objects.filter(action_flag=ADDITION).get().object_id == first

        post(manager, "backups-restore", set=stamp)

        assert set(jobs.names()[0]) == {first, second}
        for name in (first, second):
            dynamodb.delete_table(TableName=name)


@on_moto
class TestRestored:
    @pytest.fixture
    def target(self, dynamodb: DynamoDBClient) -> Any:
        name = restored_by_aws(dynamodb, f"{names()[0]}-restored-20250131-134507")
        yield name
        dynamodb.delete_table(TableName=name)

    def url(self, *tables: str) -> str:
        return reverse("mcp_staff:backups-restored") + "?" + "&".join(f"table={table}" for table in tables)

    def test_what_aws_left_out_is_shown_and_made_again(
        self, target: str, manager: Client, viewer: Client, dynamodb: DynamoDBClient
    ) -> None:
        for reader in (manager, viewer):
            shown = text(reader.get(self.url(target)))
            assert "not complete" in shown
            assert "stream" in shown
        assert 'action="/admin/backups/complete/"' in text(manager.get(self.url(target)))
        assert 'action="/admin/backups/complete/"' not in text(viewer.get(self.url(target)))
        assert post(viewer, "backups-complete", table=target).status_code == 403
        assert target in text(manager.get(reverse("mcp_staff:backups-complete"), {"table": target}))
        assert not describe(target).stream.enabled

        answer = post(manager, "backups-complete", table=target)

        assert "Made again" in text(answer)
        live = describe(target)
        assert live.stream.enabled
        assert live.time_to_live
        assert live.time_to_live.attribute == "ttl"
        assert "Everything that AWS leaves out of a restore is made again" in text(answer)
        aspects = LogEntry.objects.values_list("change_message", flat=True)
        assert {message.split()[0] for message in aspects} >= {"stream", "ttl", "tags"}

    def test_a_restore_on_its_way_is_followed_and_not_touched(
        self, target: str, manager: Client, dynamodb: DynamoDBClient, quick: DynamoDBClient
    ) -> None:
        on_its_way: Any = dynamodb.describe_table(TableName=target)
        on_its_way["Table"]["TableStatus"] = "CREATING"
        on_its_way["Table"]["RestoreSummary"]["RestoreInProgress"] = True
        with answering(quick, "DescribeTable", on_its_way), answering(dynamodb, "DescribeTable", on_its_way):
            shown = text(manager.get(self.url(target)))
            assert 'hx-trigger="every 5s"' in shown
            assert "AWS is restoring it" in shown
            assert "still restoring" in text(post(manager, "backups-complete", table=target))
        assert not describe(target).stream.enabled

    def test_it_goes_on_by_itself_for_whoever_confirmed_the_restore_alone(
        self, target: str, manager: Client, dynamodb: DynamoDBClient, staff_client: Callable[..., Client]
    ) -> None:
        by_itself = 'hx-post="/admin/backups/complete/"'
        session = manager.session
        session["restores"] = [target]
        session.save()
        assert by_itself in text(manager.get(self.url(target)))
        assert by_itself not in text(staff_client("view_session", "manage_backups").get(self.url(target)))
        with answering(dynamodb, "TagResource", error("AccessDeniedException", "no tags for you")):
            answer = post(manager, "backups-complete", table=target)
        assert "no tags for you" in text(answer)
        # What was refused waits for a person.
        assert by_itself not in text(manager.get(self.url(target)))
        assert describe(target).stream.enabled

    def test_two_tables_are_read_one_after_the_other(
        self, target: str, manager: Client, quick: DynamoDBClient, dynamodb: DynamoDBClient
    ) -> None:
        with operations(quick) as sent, operations(dynamodb) as others:
            both = text(manager.get(self.url(target, "not-there-yet")))
        assert sent + others == ["DescribeTable", "DescribeTable"]
        assert 'hx-trigger="load, every' in both
        assert "There is no table not-there-yet" in both
        with operations(quick) as sent, operations(dynamodb) as others:
            manager.get(self.url(target))
        assert len(sent) + len(others) <= MAX_REQUESTS
        assert writes(sent + others) == []

    @pytest.mark.parametrize("name", ["", "..", "<script>", "\u202e", "x" * 300])
    def test_what_is_no_table_is_refused(self, dynamodb: DynamoDBClient, manager: Client, name: str) -> None:
        assert manager.get(reverse("mcp_staff:backups-restored"), {"table": name}).status_code in (200, 400)
        assert post(manager, "backups-complete", table=name).status_code == 400

    def test_a_table_that_was_not_restored_is_left_alone(self, dynamodb: DynamoDBClient, manager: Client) -> None:
        assert "is no restored table" in text(manager.get(self.url(names()[0])))
        assert post(manager, "backups-complete", table=names()[0]).status_code == 400
