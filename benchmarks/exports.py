"""An export of many sessions from moto and its import into DynamoDB Local: rates, resident memory, and equality."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import django

from benchmarks.engine import dynamodb_local
from tests.conformance.processes import ROOT, base_environment, site_environment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SESSIONS, EVENTS = "conformance-sessions", "conformance-events"
EVENTS_EACH = 2
LARGE_EVERY = 20
"""Every so many sessions one has a large value."""
SAMPLES = 10

# In a process of its own: only the commands' memory is measured. At every page of a Scan moto sorts all items and walks
# to the page by comparisons that are slow; with so many items it would take longer than its clients wait.
MOTO = """
import sys, django
django.setup()
from moto.dynamodb.models.table import Table
from tests.engines import moto

def key(table, item):
    return item.hash_key.value, item.range_key.value if table.range_key_attr else ""

def all_items(table):
    items = table.items.values()
    if table.range_key_attr:
        items = (item for partition in items for item in partition.values())
    return sorted(items, key=lambda item: key(table, item))

def comes_before(table, item, start, *_):
    return key(table, item) <= (start["session_id"]["S"], start.get("event_id", {"S": ""})["S"])

Table.all_items, Table._item_comes_before_dct = all_items, comes_before
with moto() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50_000)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source, target = stack.enter_context(_moto()), stack.enter_context(dynamodb_local())
        for url in (source, target):
            _run(directory, url, "dynamodb_setup")
            # Both engines keep a record of every write for the stream, and DynamoDB Local slows down with each.
            _run(directory, url, "dynamodb_teardown", "--disable-streams")
        began = time.perf_counter()
        items = _seed(_client(source), options.sessions)
        _say(f"{options.sessions:,} sessions, {items:,} items on moto", items, time.perf_counter() - began, "seeded")

        file = directory / "sessions.jsonl.gz"
        _measured(directory, source, items, "sessions_export", str(file))
        print(f"  a file of {file.stat().st_size / 1e6:.2f} MB")
        _measured(directory, target, items, "sessions_import", str(file))
        _measured(directory, target, items, "sessions_import", str(file))
        here, there = (_digests(_client(url)) for url in (source, target))
        print(f"items compared: {len(here):,}; equal: {here == there and len(here) == items}")


@contextmanager
def _moto() -> Iterator[str]:
    environment = base_environment() | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", MOTO],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def _client(url: str) -> DynamoDBClient:
    client: DynamoDBClient = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="conformance",
        aws_secret_access_key="conformance",
    )
    return client


def _seed(client: DynamoDBClient, sessions: int) -> int:
    """Put sessions with state and events, and a large value for some; how many items."""
    from sessions_dynamo import schema
    from sessions_dynamo.operations import run
    from sessions_dynamo.store import batches, session_items
    from sessions_dynamo.store.event_items import Event
    from sessions_dynamo.store.events import EventStore
    from sessions_dynamo.store.session_items import Session
    from sessions_dynamo.store.state import Entry, Spilled

    store = EventStore(client, EVENTS, event_ttl=timedelta(hours=6), max_events=1000)
    now = datetime.now(UTC)
    expires = now + timedelta(hours=24)

    def session_items_of(number: int) -> Iterator[dict[str, Any]]:
        session_id, entries = f"session-{number:06d}", dict[str, Entry]({"profile": f'{{"name":"Zoë {number}"}}'})
        if number % LARGE_EVERY == 0:
            value_id, ttl = schema.spilled_value_id(session_id, "report"), int(expires.timestamp()) + 86_400
            entries["report"] = Spilled(value_id, 6002, ttl)
            yield {"session_id": {"S": value_id}, "value": {"S": f'"{"x" * 6000}"'}, "ttl": {"N": str(ttl)}}
        session = Session(session_id, now, session_items.floor(now), expires, f"user:{number % 97}")
        yield session_items.encode(session, entries)

    def event_items_of(number: int) -> Iterator[dict[str, Any]]:
        session_id, stream_id = f"session-{number:06d}", schema.time_ordered_id()
        for sequence in range(EVENTS_EACH):
            data = f'{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":"step {sequence} …"}}}}'
            yield store.encode(Event(session_id, stream_id, sequence, "notifications/message", data, now))[0]

    def put(name: str, items_of: Callable[[int], Iterator[dict[str, Any]]]) -> int:
        return run(client, batches.put(name, (item for number in range(sessions) for item in items_of(number))))

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(put, (SESSIONS, EVENTS), (session_items_of, event_items_of)))


def _run(directory: Path, url: str, *command: str) -> None:
    subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=site_environment(url, directory),
        check=True,
        capture_output=True,
    )


def _measured(directory: Path, url: str, items: int, *command: str) -> None:
    """Run a command; print its rate, what it printed last, and its resident memory over time."""
    began, samples = time.perf_counter(), list[float]()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=site_environment(url, directory),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            samples.append(_resident_mb(process.pid))
            time.sleep(0.25)
        elapsed = time.perf_counter() - began
        out.seek(0)
        printed = out.read()
    if process.returncode:
        raise SystemExit(printed)
    _say(f"{command[0]}", items, elapsed, "done")
    # The first second is Python and its imports.
    steady = samples[4:] or samples
    shown = steady[:: max(1, len(steady) // SAMPLES)]
    print(f"  resident MB over time: {' '.join(f'{each:.0f}' for each in shown)}; most {max(samples):.0f}")
    lines = [line for line in printed.splitlines() if "items of sessions" in line]
    print(f"  {lines[-1]}", flush=True)


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def _digests(client: DynamoDBClient) -> Counter[bytes]:
    """Every item of both tables, as a digest each."""
    from sessions_dynamo.reading import scans
    from tests.sessions_dynamo.exported import normal

    found: Counter[bytes] = Counter()
    for name in (SESSIONS, EVENTS):
        for page in scans.all_pages(client, name, segments=1):
            for item in page:
                comparable = {attribute: normal(value) for attribute, value in item.items()}
                text = json.dumps([name, comparable], sort_keys=True, default=_plain)
                found[hashlib.blake2b(text.encode(), digest_size=16).digest()] += 1
    return found


def _plain(value: object) -> str:
    """Of a number, which each engine spells as it likes."""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else repr(value)


def _say(what: str, items: int, elapsed: float, verb: str) -> None:
    print(f"{what}: {verb} in {elapsed:.0f} s, {items / elapsed:,.0f} items/s", flush=True)


if __name__ == "__main__":
    main()
