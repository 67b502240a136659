"""An operation means the same on the loop as in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sessions_dynamo.dataplane.driver import drive
from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.errors import TableMissing
from sessions_dynamo.operations import Operation, Pause, Request, ask, run
from tests.sessions_dynamo.dataplane.servers import answer, cuts, sends, serving
from tests.sessions_dynamo.dataplane.support import GET, plane
from tests.sessions_dynamo.wire import operations_on_loops

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Scripted:
    """Answers requests with what it was given; exceptions are raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def request(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((action, parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        return answer  # type: ignore[no-any-return]


async def test_the_result_of_requests_and_pauses() -> None:
    def operation() -> Operation[list[Any]]:
        first = yield Request("GetItem", {"a": 1})
        nothing = yield Pause(0.001)
        second = yield from ask("table", "Query", b=2)
        return [first, nothing, second]

    answering = Scripted({"one": 1}, {"two": 2})
    assert await drive(answering, operation()) == [{"one": 1}, None, {"two": 2}]
    assert answering.asked == [("GetItem", {"a": 1}), ("Query", {"TableName": "table", "b": 2})]


async def test_one_that_asks_nothing() -> None:
    def operation() -> Operation[int]:
        if nobody:
            yield Request("GetItem", {})
        return 1

    nobody: list[None] = []
    assert await drive(Scripted(), operation()) == 1


async def test_an_exception_is_raised_at_its_yield() -> None:
    def operation() -> Operation[str]:
        try:
            yield Request("GetItem", {})
        except ValueError as exc:
            return f"{exc} and {(yield Request('PutItem', {}))}"
        raise AssertionError

    assert await drive(Scripted(ValueError("no"), {}), operation()) == "no and {}"


async def test_an_exception_that_it_lets_pass() -> None:
    ended = []

    def operation() -> Operation[None]:
        try:
            yield from ask("table", "GetItem")
        finally:
            ended.append(True)

    gone = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "GetItem")
    with pytest.raises(TableMissing):
        await drive(Scripted(gone), operation())
    assert ended == [True]


@pytest.mark.parametrize("waits_in", ["request", "pause"])
async def test_cancelled_it_closes_the_operation_and_asks_no_more(waits_in: str) -> None:
    steps: list[str] = []

    def operation() -> Operation[None]:
        try:
            if waits_in == "pause":
                yield Pause(60)
            yield Request("GetItem", {})
        except Exception:
            steps.append("caught")
            raise
        except GeneratorExit:
            steps.append("closed")
            raise

    answering = Scripted(asyncio.Event())
    task = asyncio.create_task(drive(answering, operation()))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["closed"]
    assert len(answering.asked) == (waits_in == "request")


def _write_and_read(table: str) -> Operation[list[Any]]:
    item = {"session_id": {"S": "one"}, "value": {"S": "ü"}, "number": {"N": "1"}, "set": {"SS": ["a", "b"]}}
    yield from ask(table, "PutItem", Item=item)
    try:
        yield from ask(
            table,
            "PutItem",
            Item=item,
            ConditionExpression="attribute_not_exists(session_id)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as exc:
        refused: dict[str, Any] = dict(exc.response)
    yield Pause(0.001)
    found = yield from ask(table, "GetItem", Key={"session_id": {"S": "one"}}, ConsistentRead=True)
    try:
        yield from ask("no-such-table", "GetItem", Key={"session_id": {"S": "one"}})
    except TableMissing as missing:
        return [refused["Error"]["Code"], refused.get("Item"), found["Item"], str(missing)]
    raise AssertionError


def test_both_drivers_see_the_same_of_a_real_engine(dynamodb: DynamoDBClient, settings: Any) -> None:
    async def on_the_loop() -> list[Any]:
        async with plane() as ours:
            return await drive(ours, _write_and_read(settings.DYNAMODB_SESSIONS_TABLE))

    theirs = run(dynamodb, _write_and_read(settings.DYNAMODB_SESSIONS_TABLE))
    assert asyncio.run(on_the_loop()) == theirs


async def test_requests_of_every_loop_are_counted_once_however_often_they_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(cuts(), sends(answer())) as server, operations_on_loops() as sent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            await ours.request("GetItem", GET)
            await asyncio.to_thread(asyncio.run, _ask_once())
    assert sent == ["GetItem", "GetItem"]
    assert len(server.seen) == 3


async def _ask_once() -> None:
    async with plane() as other:
        await other.request("GetItem", GET)


async def test_an_observer_hears_each_request_once_and_may_forbid_it() -> None:
    heard: list[Asked] = []

    def forbid(asked: Asked) -> None:
        heard.append(asked)
        raise PermissionError(asked.action)

    async with plane() as ours:
        with on_request(heard.append), on_request(forbid), pytest.raises(PermissionError, match="GetItem"):
            await ours.request("GetItem", GET)
    assert heard == [Asked("GetItem", GET, "eu-west-1")] * 2
