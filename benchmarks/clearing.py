"""``dynamodb_teardown --clear-data`` against a scan that deletes one item after the other: time an item, and memory.

Each part is a process of its own over one DynamoDB Local; the slow way is measured on a part of the items. They are
events, in the one table there is: DynamoDB Local looks through the stream of every other table at each write, which
would measure its search rather than the deletion.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.engine import part_environment, run_part

EVENTS_A_SESSION = 10

Item = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=5_000, help="items that are deleted one by one")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(_measured(PARTS[options.part], options.items)))
        return
    with part_environment() as env:
        _run("fill", options.items + options.sample, env)
        slow = _run("one_by_one", options.sample, env)
        fast = _run("clear", options.items, env)
    each, each_fast = slow["seconds"] / slow["items"], fast["seconds"] / fast["items"]
    print(f"one by one: {each * 1000:.2f} ms an item, {slow['items']:,} items, {slow['peak_mib']:.0f} MiB at most")
    print(
        f"dynamodb_teardown --clear-data: {each_fast * 1000:.2f} ms an item, {fast['items']:,} items in"
        f" {fast['seconds']:.1f} s, {fast['peak_mib']:.0f} MiB at most"
    )
    print(f"ratio: {each / each_fast:.1f} times faster")


def _run(part: str, items: int, env: dict[str, str]) -> dict[str, float]:
    return run_part("benchmarks.clearing", "--part", part, "--items", str(items), env=env)


def _measured(part: Callable[[int], int], items: int) -> dict[str, float]:
    import django

    django.setup()
    started = time.perf_counter()
    done = part(items)
    seconds = time.perf_counter() - started
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"items": done, "seconds": seconds, "peak_mib": int(peak.split()[1]) / 1024}


def _fill(items: int) -> int:
    from sessions_dynamo.client import dynamodb
    from sessions_dynamo.operations import run
    from sessions_dynamo.store import batches
    from sessions_dynamo.tables import setup
    from sessions_dynamo.tables.names import named_tables

    events = named_tables()[1]
    setup.ensure_tables([events])

    def fill(numbers: range) -> int:
        return run(dynamodb(), batches.put(events.name, map(_event, numbers)))

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(fill, [range(start, items, 8) for start in range(8)]))


def _event(number: int) -> Item:
    return {
        "session_id": {"S": f"session-{number // EVENTS_A_SESSION:08d}"},
        "event_id": {"S": f"{number:013d}-0000000000000000.{number % EVENTS_A_SESSION:010d}"},
        "shard": {"S": str(number % 8)},
        "timestamp": {"N": str(1_700_000_000_000 + number)},
        "ttl": {"N": "2000000000"},
        "data": {
            "S": json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"text": "x" * 200}})
        },
    }


def _one_by_one(items: int) -> int:
    """Scan, then DeleteItem, item after item."""
    from sessions_dynamo.client import dynamodb
    from sessions_dynamo.tables.names import named_tables

    client, events = dynamodb(), named_tables()[1]
    # DynamoDB Local takes seconds for a full page of a large table.
    pages = client.get_paginator("scan").paginate(TableName=events.name, PaginationConfig={"PageSize": 500})
    found: Iterator[Any] = pages.search("Items")
    for item in islice(found, items):
        client.delete_item(TableName=events.name, Key={key.name: item[key.name] for key in events.schema.keys})
    return items


def _clear(items: int) -> int:
    """The command itself; it must have deleted every item."""
    import re

    from django.core.management import call_command

    out = StringIO()
    call_command("dynamodb_teardown", "--clear-data", "--yes", stdout=out)
    deleted = sum(int(number.replace(",", "")) for number in re.findall(r"deleted +([\d,]+) item", out.getvalue()))
    if deleted != items:
        raise RuntimeError(f"deleted {deleted} of {items} items:\n{out.getvalue()}")
    return deleted


PARTS: dict[str, Callable[[int], int]] = {"fill": _fill, "one_by_one": _one_by_one, "clear": _clear}


if __name__ == "__main__":
    main()
