"""Queries by the page, to their last page, or until there is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sessions_dynamo.operations import Driver, Operation, ask

Item = dict[str, Any]
Query = Mapping[str, Any]
"""The parameters of a Query."""


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to one Query, and the Query of the page that follows; ``None`` after the last."""

    items: list[Item]
    count: int
    following: Query | None


def query_page(query: Query) -> Operation[Page]:
    """One page: one request, and at most 1 MB of what it read."""
    answer = yield from ask(query["TableName"], "Query", **query)
    last = answer.get("LastEvaluatedKey")
    following = None if last is None else {**query, "ExclusiveStartKey": last}
    return Page(answer.get("Items", []), answer["Count"], following)


def query_all(*, enough: Callable[[list[Item]], bool] | None = None, **query: Any) -> Operation[list[Item]]:
    """The items of a Query, of all its pages or of the first that together are ``enough``."""
    items: list[Item] = []
    following: Query | None = query
    while following is not None:
        page = yield from query_page(following)
        items += page.items
        if enough is not None and enough(items):
            break
        following = page.following
    return items


def count_all(**query: Any) -> Operation[int]:
    """How many items a Query matches, over all of its pages."""
    total = 0
    following: Query | None = {**query, "Select": "COUNT"}
    while following is not None:
        page = yield from query_page(following)
        total += page.count
        following = page.following
    return total


def stream(drive: Driver, **query: Any) -> Iterator[Item]:
    """The items of a Query, each page asked for when the one before is read: for lists of any length."""
    following: Query | None = query
    while following is not None:
        page = drive(query_page(following))
        yield from page.items
        following = page.following
