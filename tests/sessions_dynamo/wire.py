"""What is sent to DynamoDB by boto3 and by the data plane, and answers that no emulator gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.operations import Operation, Request
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.streams import StreamStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient

T = TypeVar("T")


@contextmanager
def operations(client: DynamoDBClient) -> Iterator[list[str]]:
    """Collects the names of the operations that the client sends, and the data planes of its region, in order."""
    sent: list[str] = []

    def hear(model: Any, **_: Any) -> None:
        sent.append(model.name)

    def hear_on_loop(asked: Asked) -> None:
        if asked.region == client.meta.region_name:
            sent.append(asked.action)

    client.meta.events.register("before-call.dynamodb", hear)
    try:
        with on_request(hear_on_loop):
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
    """Answers an operation in the service's place, the first ``times`` times that it is called.

    An error is the data planes' answer too; what is no error answers boto3 alone.
    """
    left = times

    # A handler's answer stands for the service's; botocore's stubs do not know that it may have one.
    def reply(**_: Any) -> Any:
        nonlocal left
        left -= 1
        status = 400 if "Error" in answer else 200
        return None if left < 0 else (AWSResponse("", status, HTTPHeaders(), None), answer)

    def refuse(asked: Asked) -> None:
        nonlocal left
        if asked.action != operation or asked.region != client.meta.region_name:
            return
        assert "Error" in answer, "an observer may refuse a request, and has no answer to it"
        left -= 1
        if left >= 0:
            exceptions: Any = client.exceptions
            raise exceptions.from_code(answer["Error"]["Code"])(answer, operation)

    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(event, reply)
    try:
        with on_request(refuse):
            yield
    finally:
        client.meta.events.unregister(event, reply)


@contextmanager
def replacing(
    store: SessionStore | EventStore | StreamStore, action: str, instead: Callable[[Request], Operation[Any]]
) -> Iterator[None]:
    """Asks what ``instead`` asks in place of each request of one action, and has its result or error as the answer.

    It is the store's own requests that are replaced, so no driver knows of it.
    """
    drive = store.drive

    def drive_replaced(operation: Operation[T], /) -> T:
        return drive(_replaced(operation, action, instead))

    store.drive = drive_replaced
    try:
        yield
    finally:
        store.drive = drive


def _replaced(operation: Operation[T], action: str, instead: Callable[[Request], Operation[Any]]) -> Operation[T]:
    try:
        step = next(operation)
        while True:
            try:
                if isinstance(step, Request) and step.action == action:
                    answer = yield from instead(step)
                else:
                    answer = yield step
            except Exception as exc:
                step = operation.throw(exc)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        operation.close()


def error(code: str, message: str = "") -> dict[str, Any]:
    """An error answer of DynamoDB."""
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
