"""One item of the events table: read as it is, or put only if there is none and told apart from its own repetition."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import ClientError

from sessions_dynamo.operations import Operation, ask
from sessions_dynamo.store.event_items import Item

ABSENT: Final = "attribute_not_exists(event_id)"


def item_at(table: str, session_id: str, key: str) -> Operation[Item | None]:
    """The item at a key, by a consistent read; ``None`` where there is none."""
    answer = yield from ask(
        table, "GetItem", Key={"session_id": {"S": session_id}, "event_id": {"S": key}}, ConsistentRead=True
    )
    item: Item | None = answer.get("Item")
    return item


def put_if_absent(table: str, item: Item) -> Operation[bool]:
    """Put an item; ``False``, and nothing is written, where another stands at its key."""
    try:
        yield from ask(
            table, "PutItem", Item=item, ConditionExpression=ABSENT, ReturnValuesOnConditionCheckFailure="ALL_OLD"
        )
    except ClientError as exc:
        # A write whose answer was lost is sent again by the AWS client, and then refused for what it did itself.
        return bool(exc.response.get("Item") == item)
    return True
