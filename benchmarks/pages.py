"""What the sessions page costs over a small and a large table: requests, capacity, time, and bytes sent.

A hundred sessions a page, over DynamoDB Local. The time is compared with that of the same DynamoDB requests alone,
by turns in the same run; the bytes are those of the page itself, uncompressed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

from benchmarks.engine import dynamodb_local
from tests.conformance.processes import site_environment

SIZES = (1_000, 10_000, 100_000)
PAGE = "/admin/sessions/?per_page=100"
WRITERS = 4
CHUNK = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="SESSIONS")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, dynamodb_local() as engine_url:
        os.environ |= site_environment(engine_url, Path(name)) | {"DJANGO_SETTINGS_MODULE": "mcpsite.settings"}
        django.setup()
        _measure(sorted(options.sizes), options.rounds)


def _measure(sizes: list[int], rounds: int) -> None:
    # Django must be set up before these can be imported.
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client, override_settings

    from sessions_dynamo import client
    from sessions_dynamo.tables.setup import ensure_tables

    ensure_tables()
    call_command("migrate", verbosity=0)
    # Hashed names of static files need 'collectstatic', and change nothing here.
    storages = settings.STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES=storages):
        browser = Client(SERVER_NAME="localhost")
        browser.force_login(get_user_model().objects.create_superuser("benchmark"))
        dynamodb = client.dynamodb(quick=True)
        stored = 0
        for size in sizes:
            began = time.perf_counter()
            _store(stored, size)
            stored = size
            print(f"{size} sessions (stored in {time.perf_counter() - began:.0f} s):")
            _report(browser, dynamodb, rounds)


def _report(browser: Any, dynamodb: Any, rounds: int) -> None:
    with _heard(dynamodb) as (requests, units):
        answer = _show(browser)
    assert answer.content.count(b'name="session"') == 100, "the page shows a hundred sessions"
    operations = Counter(operation for operation, _ in requests)
    print(f"  requests: {', '.join(f'{name} {number}' for name, number in operations.items())}")
    print(f"  capacity: {sum(units):.1f} read units")
    compressed = len(gzip.compress(answer.content))
    print(f"  bytes: {len(answer.content) / 1000:.0f} KB; gzip would make {compressed / 1000:.0f} KB of them")
    pages, alone = [], []
    for _ in range(rounds):
        pages.append(_seconds(lambda: _show(browser)))
        alone.append(_seconds(lambda: _ask(dynamodb, requests)))
    page, raw = statistics.median(pages), statistics.median(alone)
    print(f"  time: {page * 1000:.0f} ms, the requests alone {raw * 1000:.0f} ms: {page / raw:.2f} times", flush=True)


@contextmanager
def _heard(dynamodb: Any) -> Iterator[tuple[list[tuple[str, dict[str, Any]]], list[float]]]:
    """Every request meanwhile with its parameters, and the capacity that it took."""
    requests: list[tuple[str, dict[str, Any]]] = []
    units: list[float] = []

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        requests.append((model.name, dict(params)))
        params["ReturnConsumedCapacity"] = "TOTAL"

    def note(parsed: dict[str, Any], **_: Any) -> None:
        capacity = parsed["ConsumedCapacity"]
        units.extend(each["CapacityUnits"] for each in (capacity if isinstance(capacity, list) else [capacity]))

    dynamodb.meta.events.register("before-parameter-build.dynamodb", ask)
    dynamodb.meta.events.register("after-call.dynamodb", note)
    try:
        yield requests, units
    finally:
        dynamodb.meta.events.unregister("before-parameter-build.dynamodb", ask)
        dynamodb.meta.events.unregister("after-call.dynamodb", note)


def _ask(dynamodb: Any, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """The requests of a page as it sends them: Queries side by side, then the rest one by one."""
    queries = [params for operation, params in requests if operation == "Query"]
    with ThreadPoolExecutor(len(queries)) as pool:
        list(pool.map(lambda params: dynamodb.query(**params), queries))
    for operation, params in requests:
        if operation == "BatchGetItem":
            dynamodb.batch_get_item(**params)


def _show(browser: Any) -> Any:
    answer = browser.get(PAGE)
    assert answer.status_code == 200, "DynamoDB took longer than a page waits: use a quieter machine"
    return answer


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _store(first: int, end: int) -> None:
    """Sessions by their number, the newest last, as clients leave them; written at once."""
    from sessions_dynamo import schema
    from sessions_dynamo.store import batches, session_items, sessions
    from sessions_dynamo.store.session_items import Session

    store = sessions.default_store()
    begin = datetime.now(UTC) - timedelta(hours=12)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}},
        "clientInfo": {"name": "claude-code", "version": "2.4.1"},
    }
    entries = {f"key_{number}": f'"{"x" * 150}"' for number in range(6)}

    def write(start: int) -> None:
        items = []
        for number in range(start, min(start + CHUNK, end)):
            at = begin + timedelta(seconds=number / 4)
            session = Session(
                session_id=schema.new_session_id(),
                created_at=at,
                last_activity=session_items.floor(at),
                expires_at=at + timedelta(hours=24),
                principal=f"user:{number % 500}",
                protocol_version="2025-11-25",
                client_params_text=json.dumps(params),
            )
            items.append(session_items.encode(session, entries))
        store.drive(batches.put(store.table, items))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(first, end, CHUNK)))


if __name__ == "__main__":
    main()
