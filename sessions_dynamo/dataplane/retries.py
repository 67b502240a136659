"""Whether and when to try again: botocore's ``standard`` mode itself, as it stands in the client's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.hooks import first_non_none_response

from sessions_dynamo.dataplane.attempts import Failure

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SUCCESS: Final = AWSResponse("", 200, HTTPHeaders(), None)


class Retries:
    """The rules and the token bucket of one client, which itself sends nothing.

    They are asked as botocore's own endpoint asks them: which errors pass, what a retry costs and is refunded, the
    pause with its jitter, the most attempts.
    """

    def __init__(self, client: DynamoDBClient) -> None:
        self._events: Any = client.meta.events
        self._model: Any = client.meta.service_model

    def pause(self, action: str, attempt: int, failure: Failure, context: dict[str, Any]) -> float | None:
        """Seconds until the next attempt; ``None``: no more. ``attempt`` counts from 1, ``context`` is the call's."""
        answered = failure.response is not None
        pause: float | None = first_non_none_response(
            self._events.emit(
                f"needs-retry.dynamodb.{action}",
                response=failure.response,
                endpoint=None,
                operation=self._model.operation_model(action),
                attempts=attempt,
                caught_exception=None if answered else failure.error,
                request_dict={"context": context},
            )
        )
        return None if pause is False else pause

    def succeeded(self, action: str, context: dict[str, Any]) -> None:
        """Give back to the bucket what a success gives."""
        self._events.emit(f"after-call.dynamodb.{action}", http_response=_SUCCESS, context=context)
