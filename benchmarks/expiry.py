"""``sessions_expire`` beside ``dynamodb_teardown --clear-data`` over the same items: sessions and items a second.

Each part is a process of its own. Sessions have ``--events`` events each, a tenth of them a large value; the tables'
streams are off, because DynamoDB Local slows down with every record that they keep.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

from benchmarks.engine import part_environment, run_part

Item = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=3_000)
    parser.add_argument("--events", type=int, default=10, help="events of a session")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(_measured(PARTS[options.part], options.sessions, options.events)))
        return
    with part_environment() as env:
        for part in ("expire", "clear"):
            _run("fill", options, env)
            found = _run(part, options, env)
            each = found["seconds"] / found["sessions"] * 1000
            print(
                f"{part}: {found['sessions'] / found['seconds']:,.0f} sessions a second with their events,"
                f" {found['items'] / found['seconds']:,.0f} items a second; {each:.1f} ms a session,"
                f" {found['cpu'] / found['sessions'] * 1000:.1f} ms of them this process's CPU"
            )


def _run(part: str, options: argparse.Namespace, env: dict[str, str]) -> dict[str, float]:
    words = ["--part", part, "--sessions", str(options.sessions), "--events", str(options.events)]
    return run_part("benchmarks.expiry", *words, env=env)


def _measured(part: Callable[[int, int], int], sessions: int, events: int) -> dict[str, float]:
    import django

    django.setup()
    started, cpu = time.perf_counter(), time.process_time()
    items = part(sessions, events)
    return {
        "sessions": sessions,
        "items": items,
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
    }


def _fill(sessions: int, events: int) -> int:
    from sessions_dynamo.client import dynamodb
    from sessions_dynamo.operations import run
    from sessions_dynamo.store import batches
    from sessions_dynamo.tables import removal, setup
    from sessions_dynamo.tables.names import named_tables

    both = named_tables()
    setup.ensure_tables(both)
    for table in both:
        removal.disable_stream(table.name)

    def fill(start: int) -> int:
        numbers = range(start, sessions, 8)
        written = run(dynamodb(), batches.put(both[0].name, (item for n in numbers for item in _session(n))))
        of_events = (_event(number, place) for number in numbers for place in range(events))
        return written + run(dynamodb(), batches.put(both[1].name, of_events))

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(fill, range(8)))


def _session(number: int) -> Iterator[Item]:
    """An expired session as the store writes it; every tenth with a large value."""
    name = f"session-{number:08d}"
    past = str(int(time.time() * 1000) - 48 * 3600 * 1000)
    item: Item = {
        "session_id": {"S": name},
        "shard": {"S": str(number % 8)},
        "created_at": {"N": past},
        "last_activity": {"N": past},
        "ttl": {"N": str(int(time.time()) - 24 * 3600)},
        "state": {"M": {"notes": {"S": json.dumps(["x" * 200])}}},
        "counters": {"M": {}},
    }
    if number % 10 == 0:
        value = f"{name}#large#{number:016x}"
        item["state"]["M"]["large"] = {"M": {"item_id": {"S": value}, "size": {"N": "5002"}, "ttl": item["ttl"]}}
        yield {"session_id": {"S": value}, "ttl": item["ttl"], "value": {"S": json.dumps("x" * 5000)}}
    yield item


def _event(number: int, place: int) -> Item:
    return {
        "session_id": {"S": f"session-{number:08d}"},
        "event_id": {"S": f"{1_700_000_000_000 + number:013d}-0000000000000000.{place:010d}"},
        "event_type": {"S": "message"},
        "shard": {"S": str(number % 8)},
        "timestamp": {"N": str(1_700_000_000_000 + number)},
        "ttl": {"N": str(int(time.time()) + 3600)},
        "data": {"S": json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": "x" * 200})},
    }


def _expire(sessions: int, events: int) -> int:
    """The command itself; it must have deleted nearly every item: DynamoDB Local has a Time to Live of its own."""
    from django.core.management import call_command

    out = StringIO()
    call_command("sessions_expire", "--json", stdout=out)
    tally = json.loads(out.getvalue())
    items: int = tally["sessions"] + tally["session_items"] + tally["stray_items"] + (sessions + 9) // 10
    if items < 0.9 * sessions * (events + 1):
        raise RuntimeError(out.getvalue())
    return items


def _clear(sessions: int, events: int) -> int:
    import re

    from django.core.management import call_command

    out = StringIO()
    call_command("dynamodb_teardown", "--clear-data", "--yes", stdout=out)
    return sum(int(number.replace(",", "")) for number in re.findall(r"deleted +([\d,]+) item", out.getvalue()))


PARTS: dict[str, Callable[[int, int], int]] = {"fill": _fill, "expire": _expire, "clear": _clear}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")
    main()
