"""AWS itself, answering from botocore's Stubber: each request is checked against the service model, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botocore.stub import Stubber

from sessions_dynamo import schema
from sessions_dynamo.client import aws_client, dynamodb
from sessions_dynamo.tables.names import NamedTable

HOME = "eu-west-1"
ACCOUNT = "111122223333"
EVENTS = NamedTable("mcp-session-events", schema.EVENTS)
INDEX = "TimestampIndex"
ON_DEMAND = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}
TAGS = {"Environment": "test", "Application": "mcp-sessions", "Purpose": "MCP session events"}


def table_arn(region: str = HOME) -> str:
    return f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{EVENTS.name}"


def key_arn(key: str, region: str = HOME) -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key}"


def replica(region: str, status: str = "ACTIVE", **more: Any) -> dict[str, Any]:
    """A replica as DescribeTable lists it."""
    return {"RegionName": region, "ReplicaStatus": status, **more}


def described(region: str = HOME, **more: Any) -> dict[str, Any]:
    """DescribeTable's answer for an events table that is as declared, on demand; ``more`` is laid over it."""
    return {
        "Table": {
            "TableName": EVENTS.name,
            "TableStatus": "ACTIVE",
            "TableArn": table_arn(region),
            "KeySchema": [
                {"AttributeName": "session_id", "KeyType": "HASH"},
                {"AttributeName": "event_id", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": key.name, "AttributeType": key.type} for key in schema.EVENTS.attributes
            ],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": INDEX,
                    "IndexStatus": "ACTIVE",
                    "KeySchema": [
                        {"AttributeName": "shard", "KeyType": "HASH"},
                        {"AttributeName": "timestamp", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
                }
            ],
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            "DeletionProtectionEnabled": False,
            **ON_DEMAND,
            **more,
        }
    }


PROVISIONED: dict[str, Any] = {
    "BillingModeSummary": {"BillingMode": "PROVISIONED"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
}


@dataclass(slots=True)
class StubbedAws:
    """Answers in the order in which they were given, and every request that was made, across services and regions."""

    stubbers: dict[tuple[str, str], Stubber] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def client(self, service: str = "dynamodb", region: str = HOME) -> Any:
        """The client that the code gets for this service and region."""
        return self._stubber(service, region).client

    def answer(
        self, operation: str, response: dict[str, Any], *, service: str = "dynamodb", region: str = HOME
    ) -> None:
        """The next answer of this service in this region is to this operation."""
        self._stubber(service, region).add_response(operation, response)

    def refuse(
        self, operation: str, code: str, message: str = "", *, service: str = "dynamodb", region: str = HOME
    ) -> None:
        """The next answer of this service in this region is this error."""
        self._stubber(service, region).add_client_error(operation, code, message)

    def describe(self, region: str = HOME, *, tags: dict[str, str] = TAGS, pitr: str = "DISABLED", **more: Any) -> None:
        """The four answers from which a table is described."""
        self.answer("describe_table", described(region, **more), region=region)
        self.answer(
            "describe_time_to_live",
            {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}},
            region=region,
        )
        backups = {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": pitr},
        }
        self.answer("describe_continuous_backups", {"ContinuousBackupsDescription": backups}, region=region)
        tag_list = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.answer("list_tags_of_resource", {"Tags": tag_list}, region=region)

    def look(self, region: str = HOME, **more: Any) -> None:
        """One look at the table while it is waited for."""
        self.answer("describe_table", described(region, **more), region=region)

    def missing(self, region: str = HOME) -> None:
        """No table of the name in this region."""
        self.refuse("describe_table", "ResourceNotFoundException", "not found", region=region)

    def key(self, arn: str, region: str = HOME, **more: Any) -> None:
        """A KMS key that DynamoDB can use."""
        metadata = {"KeyId": arn.rpartition("/")[2], "Arn": arn, "KeyState": "Enabled", "KeyManager": "CUSTOMER"}
        self.answer("describe_key", {"KeyMetadata": metadata | more}, service="kms", region=region)

    @property
    def writes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Region, operation and parameters of each request that changes something, in order."""
        return [request for request in self.requests if not request[1].startswith(("Describe", "List"))]

    def finish(self) -> None:
        """Every answer was asked for."""
        for stubber in self.stubbers.values():
            stubber.assert_no_pending_responses()

    def _stubber(self, service: str, region: str) -> Stubber:
        if (service, region) not in self.stubbers:
            client: Any = dynamodb(region) if service == "dynamodb" else aws_client(service, region)

            def hear(params: dict[str, Any], model: Any, **_: Any) -> None:
                self.requests.append((region, model.name, dict(params)))

            client.meta.events.register("before-parameter-build", hear)
            stubber = self.stubbers[(service, region)] = Stubber(client)
            stubber.activate()
        return self.stubbers[(service, region)]
