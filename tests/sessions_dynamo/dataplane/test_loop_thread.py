"""Operations of many threads on one loop beside them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

from sessions_dynamo.dataplane.loop_thread import LoopThread
from sessions_dynamo.errors import TableMissing
from sessions_dynamo.operations import ask
from tests.engines import on_moto
from tests.sessions_dynamo.wire import operations_on_loops

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@on_moto
def test_threads_wait_for_their_own_answers(dynamodb: DynamoDBClient, settings: Settings) -> None:
    table = settings.DYNAMODB_SESSIONS_TABLE

    with operations_on_loops() as sent, LoopThread() as drive, ThreadPoolExecutor(8) as pool:

        def put(number: int) -> str:
            item = {"session_id": {"S": f"s{number}"}}
            answer = drive(ask(table, "PutItem", Item=item))
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
            found: str = drive(ask(table, "GetItem", Key=item))["Item"]["session_id"]["S"]
            return found

        assert list(pool.map(put, range(20))) == [f"s{number}" for number in range(20)]
        with pytest.raises(TableMissing):
            drive(ask("none", "GetItem", Key={"session_id": {"S": "a"}}))

    assert (sent.count("PutItem"), sent.count("GetItem")) == (20, 21)
    assert "dynamodb" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
