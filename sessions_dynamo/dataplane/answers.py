"""What came back, as boto3 would give it: the answer's members, or the exception with its ``response``."""

from __future__ import annotations

import json
from binascii import crc32
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import BotoCoreError, ChecksumError, ClientError, HTTPClientError
from botocore.parsers import create_parser

from sessions_dynamo.dataplane.attempts import Failure, Received

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ITEM_ACTIONS: Final = frozenset(
    {
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactGetItems",
        "TransactWriteItems",
        "UpdateItem",
    }
)
"""Their answers are JSON as it stands, but for bytes; others have times."""


class Answers:
    """Reads answers by botocore's model of the service."""

    def __init__(self, client: DynamoDBClient, url: str) -> None:
        self._client: Any = client
        self._model = self._client.meta.service_model
        self._parser: Any = create_parser("json")
        self._url = url

    def read(self, action: str, received: Received) -> dict[str, Any]:
        """The answer. Raises ``Failure``: an error of the service, a checksum that does not match, no JSON."""
        expected = received.headers.get("x-amz-crc32")
        if expected is not None and expected != str(crc32(received.body)):
            raise self._damaged(expected, received)
        if received.status != 200:
            raise self._refused(action, received)
        body = received.body
        if action not in _ITEM_ACTIONS or b'"B"' in body or b'"BS"' in body:
            return self._parse(action, received)
        try:
            answer: dict[str, Any] = json.loads(body) if body else {}
            answer["ResponseMetadata"] = _metadata(received)
        except (ValueError, TypeError) as exc:
            raise self._unreadable(exc) from exc
        return answer

    def exception(self, action: str, failure: Failure, retries: int) -> BotoCoreError | ClientError:
        """What botocore raises for a failure that was not tried again, after so many retries."""
        if failure.error is not None or failure.response is None:
            return failure.error or HTTPClientError(error=failure)
        parsed = failure.response[1]
        parsed["ResponseMetadata"]["RetryAttempts"] = retries
        refused: ClientError = self._client.exceptions.from_code(parsed.get("Error", {}).get("Code"))(parsed, action)
        return refused

    def _parse(self, action: str, received: Received) -> dict[str, Any]:
        try:
            json.loads(received.body or b"{}")  # What is no JSON, botocore reads as an answer without members.
            parsed: dict[str, Any] = self._parser.parse(
                _response(received), self._model.operation_model(action).output_shape
            )
        except Exception as exc:  # Its parsers raise what the value at hand does.
            raise self._unreadable(exc) from exc
        return parsed

    def _refused(self, action: str, received: Received) -> Failure:
        """The service's error: its code, its message, and the members that the model gives it."""
        response = _response(received)
        try:
            parsed: dict[str, Any] = self._parser.parse(response, self._model.operation_model(action).output_shape)
            code = parsed.get("Error", {}).get("Code")
            shape = None if code is None else self._model.shape_for_error_code(code)
            if shape is not None:
                parsed.update(self._parser.parse(response, shape))
        except Exception as exc:
            return self._unreadable(exc)
        return Failure(None, (self._http(received), parsed))

    def _damaged(self, expected: str, received: Received) -> Failure:
        error = ChecksumError(
            checksum_type="crc32", expected_checksum=expected, actual_checksum=str(crc32(received.body))
        )
        if expected.isascii() and expected.isdecimal():
            return Failure(error, (self._http(received), {}))
        return self._unreadable(error)

    def _unreadable(self, cause: Exception) -> Failure:
        """As if the connection had failed: it is tried again."""
        return Failure(HTTPClientError(error=f"an answer that cannot be read from {self._url}: {cause}"))

    def _http(self, received: Received) -> AWSResponse:
        return AWSResponse(self._url, received.status, received.headers, received)  # type: ignore[arg-type]


def _response(received: Received) -> dict[str, Any]:
    return {"status_code": received.status, "headers": HeadersDict(received.headers), "body": received.body}


def _metadata(received: Received) -> dict[str, Any]:
    headers = received.headers
    metadata: dict[str, Any] = {"HTTPStatusCode": received.status, "HTTPHeaders": headers}
    if "x-amzn-requestid" in headers:
        metadata["RequestId"] = headers["x-amzn-requestid"]
    return metadata
