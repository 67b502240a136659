from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.client import aws_client, is_aws
from sessions_dynamo.errors import AccessDenied, StorageUnavailable, TableMissing, Unsupported
from sessions_dynamo.tables import removal, setup, waiting
from sessions_dynamo.tables.describing import describe, describe_cached
from sessions_dynamo.tables.descriptions import Encryption, Replica
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.steps import Outcome, Step
from tests.engines import DYNAMODB_LOCAL, on_dynamodb_local, on_moto
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TTL_LOCKED = "Time to live has been modified multiple times within a fixed interval"


def outcomes(steps: list[Step], table: str) -> dict[str, Outcome]:
    return {step.aspect: step.outcome for step in steps if step.table == table}


def create_by_hand(client: DynamoDBClient, name: str, **changes: Any) -> None:
    """A table with the sessions table's key and nothing else."""
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": [{"AttributeName": "session_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "session_id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    client.create_table(**(request | changes))
    waiting.wait_until_active(name, client=client)


@pytest.fixture
def sessions(bare_dynamodb: DynamoDBClient, settings: Settings) -> str:
    """The sessions table's name."""
    return str(settings.DYNAMODB_SESSIONS_TABLE)


@pytest.fixture
def events(bare_dynamodb: DynamoDBClient, settings: Settings) -> str:
    """The events table's name."""
    return str(settings.DYNAMODB_EVENTS_TABLE)


class TestEnsure:
    def test_creates_both_tables_as_declared(
        self, engine: tuple[str, str], bare_dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        steps = setup.ensure_tables()

        for table in named_tables():
            live = describe(table.name)
            assert live.status == "ACTIVE"
            assert live.keys == table.schema.keys
            assert live.billing_mode == "PAY_PER_REQUEST"
            assert {(index.name, index.keys, index.projection, index.status) for index in live.indexes} == {
                (index.name, (index.partition, index.sort), "KEYS_ONLY", "ACTIVE") for index in table.schema.indexes
            }
            assert (live.stream.enabled, live.stream.view_type) == (True, "NEW_AND_OLD_IMAGES")
            assert live.time_to_live
            assert (live.time_to_live.status, live.time_to_live.attribute) == ("ENABLED", "ttl")
        tags = Outcome.UNSUPPORTED if engine[0] == DYNAMODB_LOCAL else Outcome.CREATED
        assert outcomes(steps, sessions) == {
            "table": Outcome.CREATED,
            "billing": Outcome.CREATED,
            "index LastActivityIndex": Outcome.CREATED,
            "index CreatedAtIndex": Outcome.CREATED,
            "index PrincipalIndex": Outcome.CREATED,
            "stream": Outcome.CREATED,
            "ttl": Outcome.CREATED,
            "tags": tags,
            # Nobody declared these, so they are left as they stand.
            "deletion protection": Outcome.UNCHANGED,
            "pitr": Outcome.UNSUPPORTED if engine[0] == DYNAMODB_LOCAL else Outcome.UNCHANGED,
        }
        assert outcomes(steps, events)["index TimestampIndex"] is Outcome.CREATED

    def test_writes_nothing_the_second_time(
        self, engine: tuple[str, str], dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        with operations(dynamodb) as sent:
            steps = setup.ensure_tables()

        assert writes(sent) == []
        tags = {Outcome.UNSUPPORTED} if engine[0] == DYNAMODB_LOCAL else set()
        assert {step.outcome for step in steps} == {Outcome.UNCHANGED} | tags

    def test_adds_what_a_hand_made_table_lacks_one_index_at_a_time(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        create_by_hand(bare_dynamodb, sessions)
        bare_dynamodb.put_item(TableName=sessions, Item={"session_id": {"S": "kept"}})

        with operations(bare_dynamodb) as sent:
            steps = setup.ensure_tables(named_tables()[:1])

        found = outcomes(steps, sessions)
        assert {found[aspect] for aspect in ("table", "billing", "deletion protection")} == {Outcome.UNCHANGED}
        assert found["tags"] in (Outcome.CREATED, Outcome.UNSUPPORTED)
        assert found["stream"] is found["ttl"] is Outcome.CREATED
        assert [found[f"index {index.name}"] for index in schema.SESSIONS.indexes] == [Outcome.CREATED] * 3
        assert sent.count("UpdateTable") == 4  # three indexes and the stream
        assert {index.status for index in describe(sessions).indexes} == {"ACTIVE"}
        assert "Item" in bare_dynamodb.get_item(TableName=sessions, Key={"session_id": {"S": "kept"}})

    def test_gives_an_index_of_a_provisioned_table_the_tables_capacity(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        throughput = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 2}
        create_by_hand(bare_dynamodb, sessions, BillingMode="PROVISIONED", ProvisionedThroughput=throughput)

        setup.ensure_tables(named_tables()[:1])

        live = bare_dynamodb.describe_table(TableName=sessions)["Table"]
        for index in live["GlobalSecondaryIndexes"]:
            assert index["ProvisionedThroughput"]["ReadCapacityUnits"] == 3
            assert index["ProvisionedThroughput"]["WriteCapacityUnits"] == 2
        assert describe(sessions).read_capacity == 3

    def test_replaces_a_stream_of_another_view_type(self, bare_dynamodb: DynamoDBClient, sessions: str) -> None:
        create_by_hand(
            bare_dynamodb,
            sessions,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
        )

        steps = setup.ensure_tables(named_tables()[:1])

        assert outcomes(steps, sessions)["stream"] is Outcome.CHANGED
        assert describe(sessions).stream.view_type == "NEW_AND_OLD_IMAGES"

    @on_moto
    def test_changes_the_tags_that_differ_and_keeps_others(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        arn = describe(sessions).arn or ""
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "Team", "Value": "search"}])

        steps = setup.ensure_tables(desired=Desired("production"))

        assert outcomes(steps, sessions)["tags"] is Outcome.CHANGED
        assert describe(sessions).tags == {
            "Environment": "production",
            "Application": "mcp-sessions",
            "Purpose": "MCP session state",
            "Team": "search",
        }

    def test_moves_time_to_live_from_another_attribute(self, bare_dynamodb: DynamoDBClient, sessions: str) -> None:
        create_by_hand(bare_dynamodb, sessions)
        bare_dynamodb.update_time_to_live(
            TableName=sessions, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )

        steps = setup.ensure_tables(named_tables()[:1])

        assert outcomes(steps, sessions)["ttl"] is Outcome.CHANGED
        live = describe(sessions).time_to_live
        assert live
        assert live.attribute == "ttl"

    def test_calls_time_to_live_pending_while_aws_locks_it(self, bare_dynamodb: DynamoDBClient, sessions: str) -> None:
        with answering(bare_dynamodb, "UpdateTimeToLive", error("ValidationException", TTL_LOCKED)):
            steps = setup.ensure_tables()

        step = next(step for step in steps if step.aspect == "ttl")
        assert step.outcome is Outcome.PENDING
        assert "up to an hour" in step.detail
        assert outcomes(setup.ensure_tables(), sessions)["ttl"] is Outcome.CREATED

    @on_dynamodb_local
    def test_takes_time_to_live_that_another_process_has_turned_on_meanwhile(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        create_by_hand(bare_dynamodb, sessions)
        plans = setup.plan(named_tables()[:1])
        bare_dynamodb.update_time_to_live(
            TableName=sessions, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
        )

        steps = setup.apply(plans)

        assert outcomes(steps, sessions)["ttl"] is Outcome.CREATED
        assert setup.plan(named_tables()[:1])[0].is_converged

    @on_moto
    @pytest.mark.parametrize("operation", ["DescribeTable", "UpdateTimeToLive"])
    def test_a_request_that_aws_throttles_is_sent_again(
        self, bare_dynamodb: DynamoDBClient, sessions: str, operation: str
    ) -> None:
        plans = setup.plan(named_tables()[:1])

        with answering(bare_dynamodb, operation, error("ThrottlingException", "Rate exceeded"), times=2):
            steps = setup.apply(plans)

        assert outcomes(steps, sessions)["ttl"] is Outcome.CREATED

    def test_refuses_a_table_with_another_key_and_touches_neither_table(
        self, bare_dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        create_by_hand(bare_dynamodb, events)  # which lacks the sort key event_id

        with operations(bare_dynamodb) as sent, pytest.raises(setup.CannotChange) as refused:
            setup.ensure_tables()

        assert events in str(refused.value)
        assert "session_id (S), event_id (S)" in str(refused.value)
        assert "choose another name" in str(refused.value)
        assert writes(sent) == []

    def test_refuses_an_index_with_other_keys(self, bare_dynamodb: DynamoDBClient, sessions: str) -> None:
        create_by_hand(
            bare_dynamodb,
            sessions,
            AttributeDefinitions=[
                {"AttributeName": "session_id", "AttributeType": "S"},
                {"AttributeName": "created_at", "AttributeType": "S"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "CreatedAtIndex",
                    "KeySchema": [{"AttributeName": "created_at", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )

        with pytest.raises(setup.CannotChange, match=r"delete (it|the other index)"):
            setup.ensure_tables()

    def test_takes_over_a_table_that_another_process_created_meanwhile(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        plans = setup.plan()
        setup.ensure_tables()

        steps = setup.apply(plans)

        assert outcomes(steps, sessions)["table"] is Outcome.UNCHANGED

    def test_tries_again_while_aws_creates_other_tables(self, bare_dynamodb: DynamoDBClient, sessions: str) -> None:
        busy = error("LimitExceededException", "Subscriber limit exceeded")
        with answering(bare_dynamodb, "CreateTable", busy, times=1):
            steps = setup.ensure_tables()

        assert outcomes(steps, sessions)["table"] is Outcome.CREATED

    @on_dynamodb_local
    def test_without_patience_begins_one_index_and_leaves_all_pending(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        create_by_hand(bare_dynamodb, sessions)

        steps = setup.ensure_tables(named_tables()[:1], patience=0)

        found = outcomes(steps, sessions)
        assert found["index LastActivityIndex"] is found["index CreatedAtIndex"] is Outcome.PENDING
        assert found["ttl"] is Outcome.CREATED
        assert [index.name for index in describe(sessions).indexes] == ["LastActivityIndex"]
        setup.ensure_tables(named_tables()[:1])
        assert len(describe(sessions).indexes) == 3

    def test_names_the_iam_action_that_reading_the_tags_needs_once_the_rest_is_done(
        self, bare_dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        denied = error("AccessDeniedException", "not authorized to perform: dynamodb:ListTagsOfResource")
        with (
            answering(bare_dynamodb, "ListTagsOfResource", denied),
            pytest.raises(AccessDenied, match="dynamodb:ListTagsOfResource"),
        ):
            setup.ensure_tables()

        live = describe(sessions)
        assert live.time_to_live
        assert live.time_to_live.status == "ENABLED"

    def test_create_missing_leaves_an_existing_table_alone(
        self, bare_dynamodb: DynamoDBClient, sessions: str, events: str
    ) -> None:
        create_by_hand(bare_dynamodb, sessions)

        steps = setup.create_missing()

        assert {step.table for step in steps} == {events}
        assert describe(sessions).indexes == ()
        assert describe(events).status == "ACTIVE"


class TestDescribe:
    @on_dynamodb_local
    def test_leaves_out_what_the_engine_cannot_answer(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        live = describe(sessions)

        assert live.tags is None
        assert live.point_in_time_recovery is None
        assert live.encryption is None
        assert {type(reason) for reason in live.unanswered.values()} == {Unsupported}
        plain = live.as_dict()
        assert not {"tags", "point_in_time_recovery", "encryption"} & plain.keys()
        assert plain["unanswered"].keys() == {"tags", "point_in_time_recovery"}

    @on_moto
    def test_reads_everything_that_the_engine_answers(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        plain = json.loads(json.dumps(describe(sessions).as_dict()))

        assert plain["name"] == sessions
        assert plain["region"] == "eu-west-1"
        assert plain["keys"] == {"session_id": "S"}
        assert plain["time_to_live"] == {"status": "ENABLED", "attribute": "ttl"}
        assert plain["point_in_time_recovery"] == {"status": "DISABLED"}
        assert plain["tags"]["Environment"] == "test"
        assert plain["deletion_protection"] is False
        assert plain["replicas"] == []
        assert plain["item_count"] == 0
        assert "unanswered" not in plain
        assert "attributes" not in plain

    @on_moto
    def test_reports_replicas_and_encryption_as_aws_describes_them(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        answer = dynamodb.describe_table(TableName=sessions)
        answer["Table"]["Replicas"] = [{"RegionName": "us-west-2", "ReplicaStatus": "ACTIVE"}]
        answer["Table"]["SSEDescription"] = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "arn:aws:kms:k"}

        with answering(dynamodb, "DescribeTable", dict(answer)):
            live = describe(sessions)

        assert live.replicas == (Replica("us-west-2", "ACTIVE"),)
        assert live.encryption == Encryption("KMS", "ENABLED", "arn:aws:kms:k")

    @on_moto
    def test_knows_the_default_encryption_of_aws_itself_only(
        self, dynamodb: DynamoDBClient, sessions: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        aws: DynamoDBClient = boto3.session.Session().client("dynamodb", region_name="eu-west-1")
        answer = dict(dynamodb.describe_table(TableName=sessions))
        unknown = error("UnknownOperationException")

        with (
            answering(aws, "DescribeTable", answer),
            answering(aws, "DescribeTimeToLive", unknown),
            answering(aws, "DescribeContinuousBackups", unknown),
            answering(aws, "ListTagsOfResource", unknown),
        ):
            assert describe(sessions, aws).encryption == Encryption("AWS_OWNED_KEY")
        assert describe(sessions).encryption is None

    def test_raises_for_a_table_that_does_not_exist(self, bare_dynamodb: DynamoDBClient) -> None:
        with pytest.raises(TableMissing, match="dynamodb_setup"):
            describe("no-such-table")

    def test_a_missing_permission_costs_one_field_and_not_the_description(
        self, dynamodb: DynamoDBClient, sessions: str
    ) -> None:
        with answering(dynamodb, "DescribeTimeToLive", error("AccessDeniedException", "no")):
            live = describe(sessions)

        assert live.time_to_live is None
        assert "dynamodb:DescribeTimeToLive" in str(live.unanswered["time_to_live"])


class TestDescribeCached:
    def test_reads_once_for_threads_that_come_together(self, dynamodb: DynamoDBClient) -> None:
        with operations(dynamodb) as sent:
            threads = [threading.Thread(target=describe_cached) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert sent.count("DescribeTable") == 2
        assert [live.name for live in describe_cached()] == [table.name for table in named_tables()]

    def test_reads_again_after_its_age_and_after_a_change(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        describe_cached()
        with operations(dynamodb) as sent:
            describe_cached(max_age=0)
        assert sent.count("DescribeTable") == 2

        removal.disable_stream(sessions)

        assert not describe_cached()[0].stream.enabled

    def test_keeps_no_failure(self, bare_dynamodb: DynamoDBClient) -> None:
        with pytest.raises(TableMissing):
            describe_cached()
        setup.ensure_tables()

        assert [live.status for live in describe_cached()] == ["ACTIVE", "ACTIVE"]


class TestReachable:
    def test_returns_when_both_tables_serve(self, dynamodb: DynamoDBClient) -> None:
        with operations(dynamodb) as sent:
            setup.reachable()

        assert sent == ["DescribeTable", "DescribeTable"]

    def test_serves_with_a_hand_made_table_that_has_no_index(self, dynamodb: DynamoDBClient, sessions: str) -> None:
        dynamodb.delete_table(TableName=sessions)
        create_by_hand(dynamodb, sessions)

        setup.reachable()

    def test_names_the_command_that_makes_a_missing_table(self, dynamodb: DynamoDBClient, events: str) -> None:
        dynamodb.delete_table(TableName=events)

        with pytest.raises(TableMissing, match=f"{events}.*dynamodb_setup"):
            setup.reachable()

    @pytest.mark.parametrize("status", ["CREATING", "DELETING", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
    def test_refuses_a_table_that_does_not_serve(self, dynamodb: DynamoDBClient, sessions: str, status: str) -> None:
        answer = dynamodb.describe_table(TableName=sessions)
        answer["Table"]["TableStatus"] = status  # type: ignore[typeddict-item]

        with answering(dynamodb, "DescribeTable", dict(answer)), pytest.raises(StorageUnavailable, match=status):
            setup.reachable()

    def test_refuses_a_table_with_another_key(self, dynamodb: DynamoDBClient, events: str) -> None:
        dynamodb.delete_table(TableName=events)
        create_by_hand(dynamodb, events)

        with pytest.raises(setup.CannotChange):
            setup.reachable()


def test_the_region_of_a_client_is_where_tables_are_made(engine: tuple[str, str], sessions: str) -> None:
    elsewhere = aws_client("dynamodb", "ap-south-1")

    setup.ensure_tables(client=elsewhere)

    assert describe(sessions, elsewhere).region == "ap-south-1"
    removal.delete_table(sessions, client=elsewhere)
    removal.delete_table(named_tables()[1].name, client=elsewhere)


@pytest.mark.parametrize(
    "region", ["eu-west-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1"]
)
def test_aws_is_known_in_every_partition(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert is_aws(boto3.session.Session().client("dynamodb", region_name=region))
