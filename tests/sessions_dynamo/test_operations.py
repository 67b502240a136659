"""The form of what is asked of DynamoDB, and its driver on boto3."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sessions_dynamo import operations
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Driver, Operation, Pause, Request, ask, blocking, boto3_driver, run
from sessions_dynamo.store.event_operations import EventOperations
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.session_operations import SessionOperations
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.workers.holdings import HoldingOperations, Holdings
from sessions_dynamo.workers.inboxes import Inboxes, InboxOperations
from sessions_dynamo.workers.news import News, NewsOperations
from sessions_dynamo.workers.replies import Replies, ReplyOperations
from sessions_dynamo.workers.roster import Roster, RosterOperations
from sessions_dynamo.workers.standalone_operations import Standalone, StandaloneOperations
from sessions_dynamo.workers.stream_operations import StreamOperations
from sessions_dynamo.workers.streams import StreamStore
from tests.sessions_dynamo.by_hand import ByHand, refused


class Client:
    """A boto3 client of two methods: it remembers what it was sent, and answers or raises what it was given."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def get_item(self, **parameters: Any) -> Any:
        return self._answer("get_item", parameters)

    def batch_write_item(self, **parameters: Any) -> Any:
        return self._answer("batch_write_item", parameters)

    def _answer(self, method: str, parameters: dict[str, Any]) -> Any:
        self.sent.append((method, parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def driven_by(client: Client) -> Driver:
    return boto3_driver(client)  # type: ignore[arg-type]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept, none of them for real."""
    seconds: list[float] = []
    monkeypatch.setattr(operations, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


# --- One request ----------------------------------------------------------------------------------------------


def test_asking_is_one_request_to_a_table() -> None:
    operation = ask("table", "GetItem", Key={"a": 1})
    assert next(operation) == Request("GetItem", {"TableName": "table", "Key": {"a": 1}})
    with pytest.raises(StopIteration) as done:
        operation.send({"Item": {}})
    assert done.value.value == {"Item": {}}


def test_a_failure_at_the_yield_is_an_error_of_the_store() -> None:
    operation = ask("table", "GetItem")
    next(operation)
    with pytest.raises(StorageUnavailable, match="Cannot reach table"):
        operation.throw(EndpointConnectionError(endpoint_url="http://nowhere"))


def test_a_false_condition_is_for_the_operation_to_read() -> None:
    operation = ask("table", "PutItem")
    next(operation)
    with pytest.raises(ClientError):
        operation.throw(refused("PutItem"))


# --- The driver on boto3 --------------------------------------------------------------------------------------


def test_each_request_is_the_clients_method_and_the_last_value_is_the_result(slept: list[float]) -> None:
    def operation() -> Operation[list[int]]:
        first = yield Request("GetItem", {"Key": 1})
        yield Pause(0.5)
        second = yield Request("BatchWriteItem", {"RequestItems": {}})
        return [first, second]

    client = Client(1, 2)
    assert driven_by(client)(operation()) == [1, 2]
    assert client.sent == [("get_item", {"Key": 1}), ("batch_write_item", {"RequestItems": {}})]
    assert slept == [0.5]


def test_an_operation_that_asks_nothing_has_a_result() -> None:
    def operation() -> Operation[str]:
        yield from ()
        return "nothing asked"

    client = Client()
    assert driven_by(client)(operation()) == "nothing asked"
    assert client.sent == []


def test_what_the_client_raises_is_raised_where_it_was_asked_for() -> None:
    failure = refused("GetItem", "ThrottlingException")

    def operation() -> Operation[tuple[ClientError, Any]]:
        with pytest.raises(ClientError) as raised:
            yield Request("GetItem", {})
        return raised.value, (yield Request("GetItem", {"again": True}))

    assert driven_by(Client(failure, "answer"))(operation()) == (failure, "answer")


def test_what_the_operation_does_not_catch_reaches_the_caller() -> None:
    failure = refused("GetItem")
    with pytest.raises(ClientError) as raised:
        driven_by(Client(failure))(ask("table", "GetItem"))
    assert raised.value is failure


def watched(ends: list[type[BaseException]]) -> Operation[None]:
    """Asks, pauses, and tells what ended it."""
    try:
        yield Request("GetItem", {})
        yield Pause(1)
    except BaseException as exc:
        ends.append(type(exc))
        raise


def test_an_interrupt_during_a_request_closes_the_operation() -> None:
    ends: list[type[BaseException]] = []
    with pytest.raises(KeyboardInterrupt):
        driven_by(Client(KeyboardInterrupt()))(watched(ends))
    assert ends == [GeneratorExit], "it is ended at once, and is shown no failure of DynamoDB's"


def test_an_interrupt_during_a_pause_closes_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[type[BaseException]] = []

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(operations, "time", SimpleNamespace(sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        driven_by(Client({}))(watched(ends))
    assert ends == [GeneratorExit]


def test_an_operation_is_driven_once() -> None:
    operation = ask("table", "GetItem")
    client = Client("answer")
    assert run(client, operation) == "answer"  # type: ignore[arg-type]
    assert driven_by(client)(operation) is None
    assert len(client.sent) == 1


# --- A face of operations -------------------------------------------------------------------------------------


class Numbers:
    def __init__(self, table: str) -> None:
        self.table = table

    def get(self, key: str, *, default: int = 0) -> Operation[int]:
        """The number at a key."""
        answer = yield from ask(self.table, "GetItem", Key=key)
        return int(answer.get("Item", default))


class NumberStore:
    def __init__(self, driver: Driver) -> None:
        self.drive = driver
        self.operations = Numbers("numbers")

    get = blocking(Numbers.get)


def test_a_face_drives_the_operation_of_the_same_name() -> None:
    driver = ByHand({"Item": 7}, {})
    store = NumberStore(driver)
    assert store.get("a") == 7
    assert store.get(key="b", default=3) == 3
    assert driver.asked == [{"TableName": "numbers", "Key": "a"}, {"TableName": "numbers", "Key": "b"}]


def test_a_faces_method_tells_what_the_operation_does_and_takes() -> None:
    assert NumberStore.get.__doc__ == "The number at a key."
    assert list(inspect.signature(NumberStore.get).parameters) == ["self", "key", "default"]


@pytest.mark.parametrize(
    ("face", "asking"),
    [
        (SessionStore, SessionOperations),
        (EventStore, EventOperations),
        (StreamStore, StreamOperations),
        (Replies, ReplyOperations),
        (Holdings, HoldingOperations),
        (Inboxes, InboxOperations),
        (News, NewsOperations),
        (Roster, RosterOperations),
        (Standalone, StandaloneOperations),
    ],
)
def test_a_store_has_every_operation_of_its_kind(face: type, asking: type) -> None:
    operations_of = {
        name: method
        for name, method in vars(asking).items()
        if inspect.isfunction(method) and not name.startswith("_") and "Operation[" in method.__annotations__["return"]
    }
    driven = {name: vars(face)[name] for name in operations_of}
    assert {name: inspect.unwrap(method) for name, method in driven.items()} == operations_of
    assert all(method.__doc__ for method in driven.values())
