"""Items of an export into both tables: first the whole file is checked, then it is written.

Nothing that stands is overwritten unless that is asked for. An item that stands already is passed over, so an import
that was interrupted is run again and goes on.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError, boto_errors
from sessions_dynamo.operations import run
from sessions_dynamo.patience import patiently
from sessions_dynamo.store import batches
from sessions_dynamo.transfer.export_files import unpacked
from sessions_dynamo.transfer.export_format import (
    TABLES,
    ExportTruncated,
    Header,
    Item,
    Line,
    Lines,
    TableKind,
    Trailer,
    read,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITERS: Final = 4
"""Threads that write; each holds a chunk."""
CHUNK_ITEMS: Final = batches.GET_SIZE
CHUNK_BYTES: Final = 1024 * 1024
NAMED_CONFLICTS: Final = 10
"""Items that stand otherwise and are told by name; the others are counted."""

Extend = timedelta | None


class ImportStopped(StorageError):
    """A write failed; the message says at which lines, and that a further run goes on there."""


@dataclass(slots=True)
class Contents:
    """What the check of a file found; ``truncated`` is why it is not whole."""

    header: Header
    items: Counter[TableKind] = field(default_factory=Counter)
    sessions: int = 0
    expired: Counter[TableKind] = field(default_factory=Counter)
    """Items whose ``ttl`` has passed: gone for the service, and deleted by DynamoDB within two days."""
    truncated: ExportTruncated | None = None


@dataclass(slots=True)
class Tally:
    """What became of the lines so far. ``different`` stood already, otherwise, and was left as it stood."""

    written: Counter[TableKind] = field(default_factory=Counter)
    standing: Counter[TableKind] = field(default_factory=Counter)
    different: int = 0
    conflicts: list[Line] = field(default_factory=list)
    """The first ``NAMED_CONFLICTS`` of those lines."""

    @property
    def done(self) -> int:
        """Lines seen to, of any outcome."""
        return self.written.total() + self.standing.total() + self.different


def check(stream: BinaryIO, *, progress: Callable[[Contents], None] | None = None) -> Contents:
    """Read a whole export and judge every line of it; nothing is written.

    Raises ``ExportDamaged`` at the first line that is none of an export's; a file that was cut short is told in
    ``Contents.truncated``.
    """
    contents: Contents | None = None
    now = schema.now_ms() // 1000
    try:
        for parsed in read(unpacked(stream)):
            match parsed:
                case Header():
                    contents = Contents(parsed)
                case Line() if contents:
                    contents.items[parsed.table] += 1
                    contents.sessions += parsed.table == "sessions" and "#" not in parsed.key[0]
                    contents.expired[parsed.table] += _ttl(parsed.item) <= now
                case Trailer() if contents:
                    contents.truncated = _short_of(contents, parsed)
            if contents and progress:
                progress(contents)
    except ExportTruncated as exc:
        if contents is None:
            raise
        contents.truncated = exc
    assert contents is not None  # ``read`` yields a header or raises.
    return contents


def load(
    stream: BinaryIO,
    names: Mapping[TableKind, str],
    *,
    client: DynamoDBClient,
    overwrite: bool = False,
    extend: Extend = None,
    dry_run: bool = False,
    tally: Tally | None = None,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Put the items of a checked export into the tables of these names; in a dry run, say what would be put.

    ``tally`` counts along, so that it stands whatever ends the import. ``extend`` moves every ``ttl`` that is nearer
    to so long from now. A file that was cut short is loaded up to there. Raises ``ImportStopped`` where a write fails.
    """
    tally = Tally() if tally is None else tally
    loader = _Loader(client, names, overwrite, dry_run, extend)
    with ThreadPoolExecutor(WRITERS) as pool:
        running: deque[Future[_Outcome]] = deque()
        try:
            for chunk in _chunks(_items(unpacked(stream))):
                if len(running) == WRITERS:
                    _count(tally, running.popleft().result(), progress)
                running.append(pool.submit(loader.load, chunk))
            while running:
                _count(tally, running.popleft().result(), progress)
        finally:
            loader.stopped.set()
            for future in running:
                future.cancel()
    return tally


# --- Check ----------------------------------------------------------------------------------------------------


def _short_of(contents: Contents, trailer: Trailer) -> ExportTruncated | None:
    if all(contents.items[table] == trailer.items[table] for table in TABLES):
        return None
    found, said = (
        " and ".join(f"{counts[table]} of {table}" for table in TABLES) for counts in (contents.items, trailer.items)
    )
    return ExportTruncated(f"The file holds items: {found}; its trailer counts {said}: lines of it are missing.")


def _ttl(item: Item) -> float:
    """Epoch s; an item without a ``ttl`` never expires."""
    return float(item[schema.TTL_ATTRIBUTE]["N"]) if "N" in item.get(schema.TTL_ATTRIBUTE, {}) else float("inf")


# --- Load -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one chunk."""

    table: TableKind
    written: int
    standing: int
    different: list[Line]


def _count(tally: Tally, outcome: _Outcome, progress: Callable[[Tally], None] | None) -> None:
    tally.written[outcome.table] += outcome.written
    tally.standing[outcome.table] += outcome.standing
    tally.different += len(outcome.different)
    tally.conflicts += outcome.different[: NAMED_CONFLICTS - len(tally.conflicts)]
    if progress:
        progress(tally)


def _items(lines: Lines) -> Iterator[Line]:
    try:
        yield from (line for line in read(lines) if isinstance(line, Line))
    except ExportTruncated:
        return  # The check has told; whoever loads it all the same wants what there is.


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines of one table and of bounded size together, no key twice."""
    chunk: list[Line] = []
    keys: set[tuple[str, ...]] = set()
    size = 0
    for line in lines:
        full = len(chunk) == CHUNK_ITEMS or size + line.size > CHUNK_BYTES
        if chunk and (full or line.table != chunk[0].table or line.key in keys):
            yield chunk
            chunk, keys, size = [], set(), 0
        chunk.append(line)
        keys.add(line.key)
        size += line.size
    if chunk:
        yield chunk


class _Loader:
    """Writes chunks, from several threads."""

    def __init__(
        self,
        client: DynamoDBClient,
        names: Mapping[TableKind, str],
        overwrite: bool,
        dry_run: bool,
        extend: Extend,
    ) -> None:
        self._client, self._names, self._overwrite, self._dry_run = client, names, overwrite, dry_run
        self._extend = extend
        self.stopped = threading.Event()
        self._now = schema.now_ms() // 1000
        # In a table that was empty nothing can be overwritten, so nothing is looked up.
        self._empty = {table: self._is_empty(names[table]) for table in TABLES}

    def _is_empty(self, name: str) -> bool:
        with boto_errors(name):
            return not self._client.scan(TableName=name, Limit=1, ConsistentRead=True)["Items"]

    def load(self, chunk: list[Line]) -> _Outcome:
        table, name = chunk[0].table, self._names[chunk[0].table]
        try:
            there: dict[tuple[str, ...], Item] = {}
            if not (self._overwrite or self._empty[table]):
                there = patiently(partial(self._standing, table, chunk), stopped=self.stopped)
            new = [line for line in chunk if line.key not in there]
            if not self._dry_run:
                items = [self._extended(line) for line in new]
                patiently(lambda: run(self._client, batches.put(name, items)), stopped=self.stopped)
        except StorageError as exc:
            raise ImportStopped(
                f"At lines {chunk[0].number} to {chunk[-1].number}: {exc} Run the same command again: it goes on."
            ) from exc
        different = [line for line in chunk if line.key in there and not self._is_same(line.item, there[line.key])]
        return _Outcome(table, len(new), len(chunk) - len(new) - len(different), different)

    def _standing(self, table: TableKind, chunk: list[Line]) -> dict[tuple[str, ...], Item]:
        names = [key.name for key in TABLES[table].keys]
        keys = [{name: line.item[name] for name in names} for line in chunk]
        items = run(self._client, batches.get(self._names[table], keys))
        return {tuple(item[name]["S"] for name in names): item for item in items}

    def _is_same(self, item: Item, standing: Item) -> bool:
        if self._extend is not None:  # An earlier run gave it another ttl than this one would.
            item, standing = ({**each, schema.TTL_ATTRIBUTE: None} for each in (item, standing))
        return bool(_comparable(item) == _comparable(standing))

    def _extended(self, line: Line) -> Item:
        ttl = _ttl(line.item)
        if self._extend is None or ttl == float("inf"):
            return line.item
        # A large value's and a region's entry's is kept ahead of their session's.
        ahead = self._extend * (2 if line.table == "sessions" and "#" in line.key[0] else 1)
        expires = self._now + int(ahead.total_seconds())
        return line.item if ttl >= expires else {**line.item, schema.TTL_ATTRIBUTE: {"N": str(expires)}}


def _comparable(value: Any) -> Any:
    """An item without the order of its sets and the spelling of its numbers, which DynamoDB does not keep."""
    match value:
        case {"N": str() as number}:
            return Decimal(number)
        case {"NS": list() as numbers}:
            return sorted(map(Decimal, numbers))
        case {"SS": list() as members} | {"BS": list() as members}:
            return sorted(members)
        case dict():
            return {name: _comparable(entry) for name, entry in value.items()}
        case list():
            return [_comparable(entry) for entry in value]
        case _:
            return value
