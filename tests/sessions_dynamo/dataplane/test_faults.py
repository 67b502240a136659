"""What goes wrong on the way, and that it means the same as it does to boto3."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from sessions_dynamo import client
from sessions_dynamo.errors import StorageUnavailable, boto_errors, is_conditional_failure
from tests.engines import free_port
from tests.sessions_dynamo.dataplane.servers import Play, answer, cuts, error, resets, sends, serving, stalls, trickles
from tests.sessions_dynamo.dataplane.support import GET, plane

ITEM = {
    "id": {"S": "one"},
    "n": {"N": "12345678901234567890"},
    "m": {"M": {"ü": {"L": [{"BOOL": True}, {"NULL": True}]}}},
}
OK = answer({"Item": ITEM})
HEAD, BODY = OK.split(b"\r\n\r\n")
UNFRAMED = b"\r\n".join(line for line in HEAD.split(b"\r\n") if b"Length" not in line) + b"\r\n\r\n" + BODY
IN_CHUNKS = (
    UNFRAMED[: -len(BODY) - 2]
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:]))
    + b"0\r\n\r\n"
)

pytestmark = pytest.mark.usefixtures("impatient")


@dataclass(frozen=True)
class Outcome:
    """What a caller sees, and what the server saw."""

    result: Any
    error: str | None
    message: str | None
    response: Any
    requests: int


def told(call: Callable[[], Any], requests: Callable[[], int]) -> Outcome:
    try:
        return Outcome(call(), None, None, None, requests())
    except Exception as exc:
        kind = type(exc)
        module = "client" if kind.__module__ == "botocore.errorfactory" else kind.__module__
        message = str(exc) if isinstance(exc, ClientError) else None
        return Outcome(None, f"{module}.{kind.__name__}", message, getattr(exc, "response", None), requests())


def by_boto3(action: str, parameters: dict[str, Any], *script: Play) -> Outcome:
    with serving(*script) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        client.aws_client.cache_clear()
        boto3: Any = client.dynamodb()
        return told(lambda: boto3._make_api_call(action, parameters), lambda: len(server.seen))


async def by_plane(action: str, parameters: dict[str, Any], *script: Play) -> Outcome:
    with serving(*script) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            try:
                result = await ours.request(action, parameters)
            except Exception as exc:
                failed = exc

                def fail() -> None:
                    raise failed

                return told(fail, lambda: len(server.seen))
            return told(lambda: result, lambda: len(server.seen))


CONDITION = error("ConditionalCheckFailedException", Item=ITEM)
REASONS = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "no", "Item": ITEM}]
CANCELLED = error("TransactionCanceledException", CancellationReasons=REASONS)
THROTTLED = error("ProvisionedThroughputExceededException")
TABLE = {
    "Table": {
        "TableName": "table",
        "CreationDateTime": 1.5e9,
        "ItemCount": 3,
        "ProvisionedThroughput": {"LastIncreaseDateTime": 1.6e9},
    }
}
BYTES = {"Item": {"b": {"B": "AAEC"}, "bs": {"BS": ["AAEC", "/w=="]}, "m": {"M": {"x": {"B": "AA=="}}}}}

SAME: dict[str, tuple[str, tuple[Play, ...]]] = {
    "an item": ("GetItem", (sends(OK),)),
    "no item": ("GetItem", (sends(answer()),)),
    "an empty answer": ("PutItem", (sends(answer(b"")),)),
    "no checksum": ("GetItem", (sends(answer({"Item": ITEM}, crc=None)),)),
    "capacity": ("GetItem", (sends(answer({"ConsumedCapacity": {"TableName": "table", "CapacityUnits": 0.5}})),)),
    "bytes": ("GetItem", (sends(answer(BYTES)),)),
    "times": ("DescribeTable", (sends(answer(TABLE)),)),
    "many items": ("Query", (sends(answer({"Items": [ITEM] * 20, "Count": 20, "LastEvaluatedKey": ITEM})),)),
    "unprocessed": ("BatchGetItem", (sends(answer({"Responses": {"table": [ITEM]}, "UnprocessedKeys": {}})),)),
    "a huge answer": ("GetItem", (sends(answer({"Item": {"v": {"S": "ü" * 2_000_000}}})),)),
    "a false condition": ("PutItem", (sends(CONDITION),)),
    "a cancelled transaction": ("TransactWriteItems", (sends(CANCELLED),)),
    "a wrong request": ("GetItem", (sends(error("ValidationException", message="wrong")),)),
    "a wrong signature": ("GetItem", (sends(error("InvalidSignatureException")),)),
    "a clock that is wrong": ("GetItem", (sends(error("RequestTimeTooSkewed")),)),
    "no table": ("GetItem", (sends(error("ResourceNotFoundException")),)),
    "an unknown error": ("GetItem", (sends(error("SomethingNew", Extra=1)),)),
    "Message, not message": ("GetItem", (sends(answer({"__type": "x#AccessDenied", "Message": "no"}, 400)),)),
    "a code in a header": ("GetItem", (sends(answer(b"{}", 400, x_amzn_query_error="Own.Code;Sender")),)),
    "an error that is no JSON": ("GetItem", (sends(answer(b"<html>no</html>", 404)),)),
    "an error without a body": ("GetItem", (sends(answer(b"", 403)),)),
    "500, then an answer": ("GetItem", (sends(error("InternalServerError", 500)), sends(OK))),
    "500 always": ("GetItem", (sends(error("InternalServerError", 500)),)),
    "500 in HTML": ("GetItem", (sends(answer(b"<html>busy</html>", 500, crc=None)),)),
    "502 without a body": ("GetItem", (sends(answer(b"", 502, crc=None)),)),
    "503, 503, then an answer": ("GetItem", (*[sends(answer(b"", 503))] * 2, sends(OK))),
    "throttled, then an answer": ("UpdateItem", (sends(THROTTLED), sends(answer()))),
    "throttled always": ("UpdateItem", (sends(THROTTLED),)),
    "throttled with its pause": ("GetItem", (sends(answer(b"", 429, x_amz_retry_after="10")), sends(OK))),
    "too many": ("GetItem", (sends(answer(b"", 429)),)),
    "a transaction in progress": (
        "TransactWriteItems",
        (sends(error("TransactionInProgressException")), sends(answer())),
    ),
    "a redirect": ("GetItem", (sends(answer(b"", 307, Location="http://127.0.0.1:1/")),)),
    "a lasting redirect": ("GetItem", (sends(answer(b"", 301, Location="http://127.0.0.1:1/")),)),
    "closed at once, then an answer": ("GetItem", (cuts(), sends(OK))),
    "closed at once": ("GetItem", (cuts(),)),
    "reset": ("GetItem", (resets,)),
    "garbage": ("GetItem", (cuts(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),)),
    "no answer": ("GetItem", (stalls(),)),
    "half an answer, then nothing": ("GetItem", (stalls(OK[:-10]), sends(OK))),
    "byte by byte": ("GetItem", (trickles(OK),)),
    "in chunks": ("GetItem", (sends(IN_CHUNKS),)),
    "in chunks with a trailer": ("GetItem", (sends(IN_CHUNKS[:-2] + b"x-amz-crc32: 1\r\n\r\n"),)),
    "half the chunks": ("GetItem", (cuts(IN_CHUNKS[:-9]), sends(OK))),
    "until the connection ends": ("GetItem", (cuts(UNFRAMED),)),
    "HTTP/1.0": ("GetItem", (cuts(OK.replace(b"HTTP/1.1", b"HTTP/1.0")),)),
    "continue, then an answer": ("GetItem", (sends(b"HTTP/1.1 100 Continue\r\n\r\n" + OK),)),
    "a connection to be closed": ("GetItem", (sends(answer({"Item": ITEM}, Connection="close")),)),
    "a wrong checksum, then an answer": ("GetItem", (sends(answer({"Item": {}}, crc="1")), sends(OK))),
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "GetItem": GET,
    "PutItem": {"TableName": "table", "Item": ITEM},
    "UpdateItem": GET,
    "DescribeTable": {"TableName": "table"},
    "Query": {"TableName": "table", "KeyConditionExpression": "id = :i"},
    "BatchGetItem": {"RequestItems": {"table": {"Keys": [{"id": {"S": "one"}}]}}},
    "TransactWriteItems": {"TransactItems": [{"Put": {"TableName": "table", "Item": ITEM}}]},
}


@pytest.mark.parametrize("name", SAME)
async def test_boto3_and_the_data_plane_see_the_same(name: str) -> None:
    action, script = SAME[name]
    ours = await by_plane(action, PARAMETERS[action], *script)
    theirs = by_boto3(action, PARAMETERS[action], *script)
    assert ours == theirs


async def test_conditions_that_are_false_are_told_as_ever() -> None:
    with serving(sends(CANCELLED)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            with pytest.raises(ClientError) as raised, boto_errors("table"):
                await ours.request("TransactWriteItems", PARAMETERS["TransactWriteItems"])
    assert is_conditional_failure(raised.value)
    assert raised.value.operation_name == "TransactWriteItems"
    assert raised.value.response["CancellationReasons"] == REASONS


async def test_an_answer_cut_at_any_byte_is_asked_for_again() -> None:
    """boto3 gives an answer without members, or part of one, where its body is cut."""
    with serving(sends(OK)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            for end in range(len(OK)):
                server.script = [*[sends(OK)] * len(server.seen), cuts(OK[:end]), sends(OK)]
                before = len(server.seen)
                assert (await ours.request("GetItem", GET))["Item"] == ITEM, end
                assert len(server.seen) == before + 2, end


@pytest.mark.parametrize("end", [0, 5, 40, len(OK) - 1])
async def test_an_answer_that_is_always_cut_is_a_closed_connection(end: int) -> None:
    outcome = await by_plane("GetItem", GET, cuts(OK[:end]))
    assert outcome.error == "botocore.exceptions.ConnectionClosedError"
    assert outcome.requests == 4


@pytest.mark.parametrize("crc", ["1", "99999999999", "-1", "abc"])
async def test_a_checksum_that_never_matches_is_raised(crc: str) -> None:
    """boto3 returns the damaged answer as good."""
    outcome = await by_plane("GetItem", GET, sends(answer({"Item": ITEM}, crc=crc)))
    assert outcome.error in ("botocore.exceptions.ChecksumError", "botocore.exceptions.HTTPClientError")
    assert outcome.requests == 4


async def test_an_error_with_a_wrong_checksum_is_not_believed() -> None:
    damaged = answer({"__type": "x#ConditionalCheckFailedException"}, 400, crc="1")
    assert (await by_plane("PutItem", PARAMETERS["PutItem"], sends(damaged), sends(OK))).requests == 2


@pytest.mark.parametrize("body", [b"[]", b"{", b'"text"', b"\xff\xfe", b"<html>"])
@pytest.mark.parametrize("action", ["GetItem", "DescribeTable"])
async def test_an_answer_that_is_no_object_is_asked_for_again_and_raised(action: str, body: bytes) -> None:
    outcome = await by_plane(action, PARAMETERS[action], sends(answer(body)))
    assert outcome.error == "botocore.exceptions.HTTPClientError"
    assert outcome.requests == 4
    assert (await by_plane(action, PARAMETERS[action], sends(answer(body)), sends(answer()))).error is None


async def test_the_checksum_is_of_the_bytes_on_the_wire() -> None:
    packed = gzip.compress(json.dumps({"Item": ITEM}).encode())
    outcome = await by_plane("GetItem", GET, sends(answer(packed, Content_Encoding="gzip")), sends(OK))
    assert outcome.requests == 2
    assert outcome.result["Item"] == ITEM


async def test_nobody_there() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        async with plane() as ours:
            with pytest.raises(EndpointConnectionError):
                await ours.request("GetItem", GET)
            with pytest.raises(StorageUnavailable, match="Cannot reach table"), boto_errors("table"):
                await ours.request("GetItem", GET)


async def test_no_such_host() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://nobody.invalid:8000")
        async with plane() as ours:
            with pytest.raises(EndpointConnectionError):
                await ours.request("GetItem", GET)


def test_what_the_driver_and_patience_catch_is_in_botocores_families() -> None:
    for kind in (ConnectionClosedError, ReadTimeoutError):
        assert issubclass(kind, HTTPClientError)
    assert not issubclass(ChecksumError, HTTPClientError)


async def test_bytes_are_refused_before_anything_is_sent() -> None:
    with serving(sends(OK)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            with pytest.raises(TypeError, match="no bytes"):
                await ours.request("PutItem", {"TableName": "table", "Item": {"id": {"B": b"\0"}}})
        assert server.seen == []


async def test_what_is_sent() -> None:
    with serving(sends(OK)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            await ours.request("PutItem", {"TableName": "table", "Item": {"id": {"S": "ü\ud83d\ude00"}}})
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/")
    assert json.loads(seen.body) == {"TableName": "table", "Item": {"id": {"S": "ü\U0001f600"}}}
    assert seen.headers["x-amz-target"] == "DynamoDB_20120810.PutItem"
    assert seen.headers["content-type"] == "application/x-amz-json-1.0"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["host"] == server.url.removeprefix("http://")
    assert seen.headers["user-agent"].startswith("Boto3/")
    assert "cookie" not in seen.headers


async def test_cookies_are_not_kept() -> None:
    with serving(sends(answer(Set_Cookie="a=b"))) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        async with plane() as ours:
            for _ in range(2):
                await ours.request("GetItem", GET)
    assert [seen.headers.get("cookie") for seen in server.seen] == [None, None]
