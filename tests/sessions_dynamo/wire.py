"""What a client sends to DynamoDB, and answers that no emulator gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from sessions_dynamo.dataplane.observers import on_request

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient


@contextmanager
def operations(client: DynamoDBClient) -> Iterator[list[str]]:
    """Collects the names of the operations that the client sends, in order."""
    sent: list[str] = []

    def hear(model: Any, **_: Any) -> None:
        sent.append(model.name)

    client.meta.events.register("before-call.dynamodb", hear)
    try:
        yield sent
    finally:
        client.meta.events.unregister("before-call.dynamodb", hear)


@contextmanager
def operations_on_loops() -> Iterator[list[str]]:
    """Collects the names of the operations that data planes send, of whatever loop, in order."""
    sent: list[str] = []
    with on_request(lambda asked: sent.append(asked.action)):
        yield sent


def writes(sent: list[str]) -> list[str]:
    """The operations of these that change something."""
    return [name for name in sent if not name.startswith(("Describe", "List", "Get", "Query", "Scan"))]


@contextmanager
def answering(
    client: DynamoDBClient | STSClient, operation: str, answer: dict[str, Any], *, times: int = 1000
) -> Iterator[None]:
    """Answers an operation in the service's place, the first ``times`` times that it is called."""
    left = times

    # A handler's answer stands for the service's; botocore's stubs do not know that it may have one.
    def reply(**_: Any) -> Any:
        nonlocal left
        left -= 1
        status = 400 if "Error" in answer else 200
        return None if left < 0 else (AWSResponse("", status, HTTPHeaders(), None), answer)

    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(event, reply)
    try:
        yield
    finally:
        client.meta.events.unregister(event, reply)


def error(code: str, message: str = "") -> dict[str, Any]:
    """An error answer of DynamoDB."""
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
