"""CPU of one DynamoDB request: over asyncio, by boto3 in a thread of its own, and by boto3 in AnyIO's threads."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from benchmarks.engine import dynamodb_local

os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings"}

import anyio.to_thread
import django

if TYPE_CHECKING:
    from sessions_dynamo.dataplane.plane import DataPlane

TABLE: Final = "benchmark"
KEY: Final = {"session_id": {"S": "one"}}
GET: Final = {"TableName": TABLE, "Key": KEY, "ConsistentRead": True}
UPDATE: Final = {
    "TableName": TABLE,
    "Key": KEY,
    "UpdateExpression": "SET #s.#k = :v, last_activity = :t",
    "ConditionExpression": "attribute_exists(session_id) AND #p = :p",
    "ExpressionAttributeNames": {"#s": "state", "#k": "key", "#p": "principal"},
    "ExpressionAttributeValues": {":v": {"S": '"value"'}, ":t": {"N": "1767225600"}, ":p": {"S": "someone"}},
}
ITEM: Final = {
    **KEY,
    "principal": {"S": "someone"},
    "state": {"M": {"key": {"S": '"value"'}, "other": {"S": "x" * 300}}},
    "ttl": {"N": "1767225600"},
}
WAYS: Final = ("asyncio", "boto3 in its own thread", "boto3 in AnyIO's threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, in a round and way")
    options = parser.parse_args()
    django.setup()
    with dynamodb_local() as url:
        os.environ["AWS_ENDPOINT_URL"] = url
        taken = asyncio.run(_measure(options.rounds, options.requests))
    for action in ("GetItem", "UpdateItem"):
        base = statistics.median(taken[WAYS[0], action])
        print(f"{action}, ms of CPU a request (median of {options.rounds} rounds):")
        for way in WAYS:
            spent = statistics.median(taken[way, action])
            print(f"  {way}: {spent:.2f} ({spent / base:.1f} times)")


async def _measure(rounds: int, requests: int) -> dict[tuple[str, str], list[float]]:
    from sessions_dynamo.client import dynamodb
    from sessions_dynamo.dataplane.loops import close_planes_of_this_loop, plane_of_this_loop

    plane, boto3 = plane_of_this_loop(), dynamodb()
    await _prepare(plane)
    calls: dict[str, Callable[..., Any]] = {"GetItem": boto3.get_item, "UpdateItem": boto3.update_item}
    taken: dict[tuple[str, str], list[float]] = {}

    async def note(way: str, action: str, work: Callable[[], Awaitable[None]]) -> None:
        before = time.process_time()
        await work()
        taken.setdefault((way, action), []).append((time.process_time() - before) / requests * 1000)

    for number in range(rounds + 1):
        for action, parameters in (("GetItem", GET), ("UpdateItem", UPDATE)):

            async def by_plane(action: str = action, parameters: dict[str, Any] = parameters) -> None:
                for _ in range(requests):
                    await plane.request(action, parameters)

            async def by_a_thread(action: str = action, parameters: dict[str, Any] = parameters) -> None:
                def ask() -> None:
                    for _ in range(requests):
                        calls[action](**parameters)

                thread = threading.Thread(target=ask)
                thread.start()
                thread.join()

            async def by_anyio(action: str = action, parameters: dict[str, Any] = parameters) -> None:
                for _ in range(requests):
                    await anyio.to_thread.run_sync(lambda: calls[action](**parameters))

            for way, work in zip(WAYS, (by_plane, by_a_thread, by_anyio), strict=True):
                await note(way, action, work)
        if number == 0:  # Connections are made, code is warm.
            taken.clear()
    await close_planes_of_this_loop()
    return taken


async def _prepare(plane: DataPlane) -> None:
    await plane.request(
        "CreateTable",
        {
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "session_id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "session_id", "KeyType": "HASH"}],
        },
    )
    await plane.request("PutItem", {"TableName": TABLE, "Item": ITEM})


if __name__ == "__main__":
    main()
