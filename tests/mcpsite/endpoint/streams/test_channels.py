"""Where a handler's messages go, and its questions to the client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import REQUEST_TIMEOUT, JSONRPCError, JSONRPCResponse

from mcpsite.endpoint.streams.channels import (
    LOG_LEVELS,
    RequestChannel,
    SessionChannel,
    StandaloneChannel,
    TransientChannel,
)
from mcpsite.endpoint.streams.transient import TransientStream
from mcpsite.endpoint.streams.worker import Worker
from sessions_dynamo import worker_keys
from sessions_dynamo.errors import StorageError
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.conftest import Wire
from tests.mcpsite.endpoint.streams.support import Peer, leftovers, owned, until, workers
from tests.mcpsite.faults import failing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ASK = "elicitation/create"


async def channel_of(worker: Worker, session: Session, kind: str) -> tuple[SessionChannel, Peer]:
    """A handler's channel, and the client at its other end."""
    if kind == "request":
        stream, client = owned(worker, session)
        return RequestChannel(worker, session, stream), client
    client = Peer()
    await worker.hold(session, client.outbox)
    return StandaloneChannel(worker, session), client


@pytest.fixture(params=["request", "standalone"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def asked(client: Peer) -> dict[str, Any]:
    """The question that the client was sent."""
    await until(lambda: any("id" in message for message in client.messages))
    question: dict[str, Any] = next(message for message in client.messages if "id" in message)
    return question


def answer(question: dict[str, Any], **members: Any) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=question["id"], result=members)


# --- Notifications --------------------------------------------------------------------------------------------


async def test_a_notification_is_sent_as_it_is(session: Session, kind: str) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, kind)
        await channel.notify("notifications/progress", {"progress": 1, "progressToken": 0})
        await channel.notify("notifications/tools/list_changed", None)
        await until(lambda: len(client.messages) == 2)
        assert client.messages == [
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1, "progressToken": 0}},
            {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
        ]


@pytest.mark.parametrize("level", [*LOG_LEVELS, None])
async def test_log_messages_below_the_sessions_level_are_dropped(session: Session, kind: str, level: str) -> None:
    session.log_level = level
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, kind)
        for one in LOG_LEVELS:
            await channel.notify("notifications/message", {"level": one, "data": one})
        await channel.notify("notifications/progress", {"level": "debug"})
        wanted = LOG_LEVELS[LOG_LEVELS.index(level) :] if level else LOG_LEVELS
        await until(lambda: client.texts[-1:] == ["notifications/progress"])
        assert client.texts == [*wanted, "notifications/progress"]


async def test_a_level_that_nobody_knows_is_let_through(session: Session) -> None:
    session.log_level = "error"
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, "request")
        for params in ({"level": "loud", "data": 1}, {"data": 2}, None):
            await channel.notify("notifications/message", params)
        await until(lambda: client.texts[-1:] == ["notifications/message"])
        assert client.texts == [1, 2, "notifications/message"]


# --- Requests to the client -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1], ids=["the same worker", "another worker"])
async def test_a_question_is_answered_by_any_worker(session: Session, kind: str, where: int) -> None:
    async with workers(2) as both:
        channel, client = await channel_of(both[0], session, kind)
        asking = asyncio.create_task(channel.send_raw_request(ASK, {"message": "?"}))
        question = await asked(client)
        assert question == {"jsonrpc": "2.0", "id": question["id"], "method": ASK, "params": {"message": "?"}}
        content = {"action": "accept", "content": {"a": None, "b": "é\u2028\ud800"}}
        await both[where].accept_reply(session.session_id, answer(question, **content))
        assert await asking == content
        client.leave()
        await until(lambda: both[0]._replies._futures == {})


async def test_an_error_is_raised_to_who_asked(session: Session, kind: str) -> None:
    async with workers(2) as [here, there]:
        channel, client = await channel_of(here, session, kind)
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        question = await asked(client)
        refusal = {"code": -1, "message": "no", "data": {"why": None}}
        await there.accept_reply(
            session.session_id,
            JSONRPCError.model_validate({"jsonrpc": "2.0", "id": question["id"], "error": refusal}),
        )
        with pytest.raises(MCPError) as caught:
            await asking
        assert (caught.value.error.code, caught.value.error.message) == (-1, "no")


async def test_many_questions_at_once_get_their_own_answers(session: Session) -> None:
    async with workers(2) as both:
        channel, client = await channel_of(both[0], session, "request")
        asking = [asyncio.create_task(channel.send_raw_request(ASK, {"data": number})) for number in range(20)]
        await until(lambda: len(client.messages) == 20)
        for place, question in enumerate(reversed(client.messages)):
            await both[place % 2].accept_reply(session.session_id, answer(question, n=question["params"]["data"]))
        assert [reply["n"] for reply in await asyncio.gather(*asking)] == list(range(20))


async def test_a_large_answer_arrives_whole(session: Session) -> None:
    async with workers(2) as [here, there]:
        channel, client = await channel_of(here, session, "request")
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        image = "iVBORw0K" * 200_000
        await there.accept_reply(session.session_id, answer(await asked(client), data=image))
        assert await asking == {"data": image}


async def test_the_first_answer_counts(session: Session) -> None:
    async with workers(3) as [here, there, elsewhere]:
        channel, client = await channel_of(here, session, "request")
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        question = await asked(client)
        await there.accept_reply(session.session_id, answer(question, n=1))
        await elsewhere.accept_reply(session.session_id, answer(question, n=2))
        await here.accept_reply(session.session_id, answer(question, n=3))
        assert await asking == {"n": 1}


async def test_an_answer_of_another_session_is_none(session: Session) -> None:
    async with workers(2) as [here, there]:
        channel, client = await channel_of(here, session, "request")
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        question = await asked(client)
        for worker in (here, there):
            await worker.accept_reply("another", answer(question, n="theirs"))
        await there.accept_reply(session.session_id, answer(question, n="ours"))
        assert await asking == {"n": "ours"}


async def test_an_answer_that_could_not_be_sent_on_is_refused_and_may_come_again(session: Session) -> None:
    async with workers(2) as [here, there]:
        channel, client = await channel_of(here, session, "request")
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        question = await asked(client)
        with failing("PutItem"), pytest.raises(StorageError):
            await there.accept_reply(session.session_id, answer(question, n=1))
        await there.accept_reply(session.session_id, answer(question, n=1))
        assert await asking == {"n": 1}


async def test_an_answer_that_a_worker_of_the_version_before_took_is_found(
    session: Session, store: StreamStore
) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, "request")
        asking = asyncio.create_task(channel.send_raw_request(ASK, None))
        question = (await asked(client))["id"]
        text = json.dumps({"jsonrpc": "2.0", "id": question, "result": {"n": 1}})
        assert store.replies.put(session.session_id, question, text)
        assert await asking == {"n": 1}


async def test_an_answer_to_a_worker_of_the_version_before_is_kept_where_it_looks(
    session: Session, store: StreamStore
) -> None:
    async with workers(1) as [worker]:
        question = f"s-{'ab' * 12}"
        message = JSONRPCResponse(jsonrpc="2.0", id=question, result={"n": 1})
        await worker.accept_reply(session.session_id, message)
        kept = store.replies.get([(session.session_id, question)])
        assert json.loads(kept[session.session_id, question])["result"] == {"n": 1}


async def test_a_client_that_does_not_answer_in_time_is_told(session: Session, kind: str) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, kind)
        with pytest.raises(MCPError, match=r"did not answer elicitation/create in 0\.01 s") as caught:
            await channel.send_raw_request(ASK, None, {"timeout": 0.01})
        assert caught.value.error.code == REQUEST_TIMEOUT
        question = await asked(client)
        await until(lambda: len(client.messages) == 2)
        assert client.messages[1]["method"] == "notifications/cancelled"
        assert client.messages[1]["params"] == {"requestId": question["id"], "reason": "timed out"}
        # Its answer comes too late, and is none.
        await worker.accept_reply(session.session_id, answer(question))
        assert worker._replies._futures == {}


async def test_a_handler_that_is_cancelled_withdraws_its_question(session: Session, kind: str) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, kind)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(channel.send_raw_request, ASK, None)
                question = await asked(client)
                scope.cancel()
        await until(lambda: len(client.messages) == 2)
        assert client.messages[1]["params"]["requestId"] == question["id"]
        assert worker._replies._futures == {}


async def test_a_question_that_cannot_be_withdrawn_is_still_timed_out(
    session: Session, dynamodb: DynamoDBClient
) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, "request")
        sending = asyncio.create_task(channel.send_raw_request(ASK, None, {"timeout": 1}))
        await asked(client)
        with failing("BatchWriteItem"), pytest.raises(MCPError):
            await sending
        assert worker._replies._futures == {}


async def test_a_question_that_could_not_be_sent_is_not_waited_for(session: Session) -> None:
    async with workers(1) as [worker]:
        channel, _ = await channel_of(worker, session, "request")
        with failing("BatchWriteItem"), pytest.raises(StorageError):
            await channel.send_raw_request(ASK, None)
        assert leftovers(worker) == {}


# --- Ids ------------------------------------------------------------------------------------------------------


async def test_ids_are_strings_that_are_no_numbers_and_never_the_same(session: Session) -> None:
    async with workers(1) as [worker]:
        channel, client = await channel_of(worker, session, "request")
        asking = [asyncio.create_task(channel.send_raw_request(ASK, None)) for _ in range(10)]
        await until(lambda: len(client.messages) == 10)
        ids = {message["id"] for message in client.messages}
        assert len(ids) == 10
        assert {worker_keys.asking_worker(one) for one in ids} == {worker.worker_id}
        for one in asking:
            one.cancel()


@pytest.mark.parametrize(
    "request_id",
    ["", "s-", "s-1", "7", 7, 0, None, "s-" + "f" * 5000, "s-" + "F" * 24, "s-\ud800", "s-" + "0" * 24 + "\n", "ü"],
    ids=ascii,
)
async def test_an_answer_to_what_nobody_asked_is_ignored(session: Session, wire: Wire, request_id: Any) -> None:
    async with workers(1) as [worker]:
        wire.clear()
        body = {"jsonrpc": "2.0", "id": request_id, "error": {"code": 1, "message": ""}}
        await worker.accept_reply(session.session_id, JSONRPCError.model_validate(body))
        assert wire.operations == []


# --- Without a session ----------------------------------------------------------------------------------------


async def test_a_client_without_a_session_is_sent_notifications_and_asked_nothing() -> None:
    client = Peer()
    channel = TransientChannel(TransientStream(client.outbox))
    assert not channel.can_send_request
    await channel.notify("notifications/message", {"level": "debug", "data": "\u2028"})
    assert [json.loads(one.data or "")["params"]["data"] for one in client.read()] == ["\u2028"]
    with pytest.raises(NoBackChannelError):
        await channel.send_raw_request(ASK, None)
