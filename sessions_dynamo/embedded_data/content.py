"""What one file of tables holds: as it is written, and as it is read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from sessions_dynamo.embedded_data.moto_tables import CopiedTable
from sessions_dynamo.transfer.export_files import seekable, unpacked
from sessions_dynamo.transfer.export_format import (
    TABLES,
    ExportDamaged,
    ExportTruncated,
    Header,
    Line,
    TableKind,
    Trailer,
    header_line,
    read,
    trailer_line,
)


@dataclass(frozen=True, slots=True)
class Content:
    """What one file holds. Two are equal that hold the same; lines that did not change are the same objects."""

    region: str
    tables: tuple[tuple[TableKind, str], ...]
    copies: tuple[CopiedTable, ...]

    @property
    def lines(self) -> Iterator[bytes]:
        counts = {kind: sum(len(each.lines) for each in self.copies if each.kind == kind) for kind in TABLES}
        descriptions = {each.name: each.description for each in self.copies}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        yield header_line(Header(now, self.region, dict(self.tables), None, descriptions)).encode()
        yield from chain.from_iterable(each.lines for each in self.copies)
        yield trailer_line(Trailer(counts)).encode()


@dataclass(frozen=True, slots=True)
class ReadContent:
    """A file that is whole and has its tables' descriptions."""

    header: Header
    items: list[Line]
    unreadable: list[ExportDamaged]
    """What is wrong with each item that cannot be had: moto takes some that DynamoDB refuses."""


def read_content(path: Path) -> ReadContent:
    """All of a file. Raises ``OSError``, and ``ExportDamaged`` unless it is whole and one of ours."""
    with seekable(str(path)) as stream:
        unreadable: list[ExportDamaged] = []
        header: Header | None = None
        items: list[Line] = []
        for part in read(unpacked(stream), unreadable=unreadable):
            match part:
                case Header():
                    header = part
                case Line():
                    items.append(part)
                case Trailer() if sum(part.items.values()) != len(items) + len(unreadable):
                    raise ExportTruncated(
                        f"It holds {len(items)} items, and its trailer counts {sum(part.items.values())}."
                    )
    assert header is not None  # ``read`` yields it first or raises.
    if not header.descriptions:
        raise ExportDamaged("It is an export without its tables' descriptions: sessions_import reads it.")
    return ReadContent(header, items, unreadable)
