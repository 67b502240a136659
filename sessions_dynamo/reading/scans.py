"""A table's items by parallel Scan: one thread a segment, and a bounded number of pages in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.errors import boto_errors
from sessions_dynamo.patience import patiently

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import ScanOutputTypeDef

Item = dict[str, Any]

PAGE_ITEMS: Final = 1000
"""A page is at most 1 MB as well. It bounds the memory that small items take, and an emulator's time to answer."""


def segment_pages(
    dynamodb: DynamoDBClient,
    table: str,
    *,
    segment: int = 0,
    segments: int = 1,
    projection: Sequence[str] = (),
    stopped: threading.Event | None = None,
) -> Iterator[list[Item]]:
    """The items of one segment, page after page; consistent reads, patient until ``stopped``."""
    scan: Any = {"TableName": table, "ConsistentRead": True, "Limit": PAGE_ITEMS}
    if segments > 1:
        scan |= {"Segment": segment, "TotalSegments": segments}
    if projection:
        names = {f"#p{number}": name for number, name in enumerate(projection)}
        scan |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}

    def read() -> ScanOutputTypeDef:
        with boto_errors(table):
            return dynamodb.scan(**scan)

    answer = patiently(read, first=True, stopped=stopped)
    while True:
        yield answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        scan["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        answer = patiently(read, stopped=stopped)


def all_pages(dynamodb: DynamoDBClient, table: str, *, segments: int) -> Generator[list[Item], None, None]:
    """Every item of the table, in pages and in no order; at most ``2 * segments`` pages are held at once."""
    if segments == 1:
        yield from segment_pages(dynamodb, table)
        return
    scan = _ParallelScan(dynamodb, table, segments)
    try:
        yield from scan.pages()
    finally:
        scan.stop()


class _ParallelScan:
    """Threads that fill one bounded queue; an error of any of them is raised to the reader."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, segments: int) -> None:
        self._pages: queue.Queue[list[Item] | Exception | None] = queue.Queue(segments)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._read, args=(dynamodb, table, segment, segments), name=f"scan-{segment}", daemon=True
            )
            for segment in range(segments)
        ]
        for thread in self._threads:
            thread.start()

    def pages(self) -> Iterator[list[Item]]:
        running = len(self._threads)
        while running:
            page = self._pages.get()
            if isinstance(page, Exception):
                raise page
            if page is None:
                running -= 1
            else:
                yield page

    def stop(self) -> None:
        """End the threads, whose requests are answered first; the pages that wait are dropped."""
        self._stopped.set()
        for thread in self._threads:
            while thread.is_alive():
                while not self._pages.empty():
                    self._pages.get_nowait()
                thread.join(0.05)

    def _read(self, dynamodb: DynamoDBClient, table: str, segment: int, segments: int) -> None:
        try:
            own = segment_pages(dynamodb, table, segment=segment, segments=segments, stopped=self._stopped)
            for page in own:
                if self._stopped.is_set():
                    return
                self._pages.put(page)
        except Exception as exc:
            self._pages.put(exc)
        else:
            self._pages.put(None)
