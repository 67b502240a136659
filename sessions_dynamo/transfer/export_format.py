"""The file format of exports: JSON Lines in UTF-8, a header, one line an item, a trailer.

An item is DynamoDB JSON, as in AWS's own exports: typed attributes, numbers as text, binary as base64. So nothing is
rounded and nothing is lost. The trailer counts the items, so that a file that was cut short is known for one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageError

FORMAT: Final = "mcp-sessions-export"
VERSION: Final = 1
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""An item of 400 KB is far shorter, even where every character of it is escaped."""

Item = dict[str, Any]
TableKind = Literal["sessions", "events"]
TABLES: Final[Mapping[TableKind, schema.Table]] = {"sessions": schema.SESSIONS, "events": schema.EVENTS}


class ExportDamaged(StorageError):
    """A file that is no export, or one with a line that is none of an export's; the message names the line."""


class ItemDamaged(ExportDamaged):
    """A line with an item that DynamoDB would refuse."""


class ExportTruncated(ExportDamaged):
    """A file that ends before its trailer, or that holds fewer items than its trailer counts."""


class Lines(Protocol):
    """What an export is read from, such as an open file."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, at most ``limit`` bytes of it; empty at the end."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where and when an export was made; ``session`` is the one that it holds, ``None`` for whole tables.

    ``descriptions`` are what the tables themselves are, by name, in a file that the embedded DynamoDB keeps them in.
    """

    exported_at: str
    region: str
    tables: Mapping[TableKind, str]
    session: str | None = None
    descriptions: Mapping[str, Item] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One item, its table, and the number (from 1) and bytes of its line."""

    number: int
    size: int
    table: TableKind
    item: Item

    @property
    def key(self) -> tuple[str, ...]:
        """The item's place in its table."""
        return tuple(self.item[key.name]["S"] for key in TABLES[self.table].keys)


@dataclass(frozen=True, slots=True)
class Trailer:
    """How many items of each table the export holds."""

    items: Mapping[TableKind, int]


# --- Write ----------------------------------------------------------------------------------------------------


def header_line(header: Header) -> str:
    """The first line."""
    body: dict[str, Any] = {
        "Format": FORMAT,
        "Version": VERSION,
        "ExportedAt": header.exported_at,
        "Region": header.region,
        "Tables": dict(header.tables),
    }
    if header.session is not None:
        body["Session"] = header.session
    if header.descriptions is not None:
        body["Descriptions"] = dict(header.descriptions)
    return _line({"Header": body})


def item_line(table: TableKind, item: Item) -> str:
    """The line of one item, as a DynamoDB client returned it."""
    return _line({"Table": table, "Item": item})


def trailer_line(trailer: Trailer) -> str:
    """The last line."""
    return _line({"Trailer": {"Items": {table: trailer.items[table] for table in TABLES}}})


def _line(value: Item) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_base64) + "\n"


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"A DynamoDB item holds no {type(value).__name__}.")


# --- Read -----------------------------------------------------------------------------------------------------


def read(stream: Lines, *, unreadable: list[ExportDamaged] | None = None) -> Iterator[Header | Line | Trailer]:
    """The lines of an export, each checked as it comes: the header first, the trailer last.

    Raises ``ExportDamaged`` at a line that is none of an export's, and ``ExportTruncated`` where the file ends early.
    Where ``unreadable`` is given, an item that DynamoDB would refuse is passed over, and what is wrong is added to it.
    """
    number = 0
    expected: type[Header] | type[Line] | None = Header
    while raw := stream.readline(MAX_LINE_BYTES):
        number += 1
        if expected is None:
            raise _damaged(number, "it stands behind the trailer; an export ends there. Import one file at a time")
        try:
            parsed = _parse(number, raw)
        except ItemDamaged as exc:
            if unreadable is None or expected is not Line:
                raise
            unreadable.append(exc)
            continue
        if expected is Header and not isinstance(parsed, Header):
            raise _damaged(number, f"it is not the header of a {FORMAT}. Give a file that sessions_export wrote")
        if expected is Line and isinstance(parsed, Header):
            raise _damaged(number, "it is a second header. Import one file at a time")
        expected = None if isinstance(parsed, Trailer) else Line
        yield parsed
    if expected is Header:
        raise ExportDamaged("The file is empty: give one that sessions_export wrote.")
    if expected is Line:
        raise ExportTruncated(f"The file ends at line {number} without a trailer: it was cut short.")


def _parse(number: int, raw: bytes) -> Header | Line | Trailer:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        if number > 1 and not raw.endswith(b"\n") and len(raw) < MAX_LINE_BYTES:
            raise ExportTruncated(f"The file ends in the middle of line {number}: it was cut short.") from exc
        raise _damaged(number, f"it is not JSON ({exc})") from exc
    if b"\\u" in raw:  # Only an escape can hold one.
        _refuse_lone_surrogates(number, value)
    match value:
        case {"Header": dict() as header}:
            return _header(number, header)
        case {"Table": "sessions" | "events" as table, "Item": dict() as item}:
            return Line(number, len(raw), table, _item(number, table, item))
        case {"Trailer": {"Items": {"sessions": int() as sessions, "events": int() as events}}}:
            return Trailer({"sessions": sessions, "events": events})
        case _:
            raise _damaged(number, "it is neither a header nor an item of one of the tables nor a trailer")


def _header(number: int, header: Item) -> Header:
    match header:
        case {"Format": str() as name, "Version": int() as version} if name != FORMAT or version != VERSION:
            raise _damaged(number, f"the format is {name}, version {version}; this release reads {FORMAT} {VERSION}")
        case {
            "Format": str(),
            "ExportedAt": str() as exported_at,
            "Region": str() as region,
            "Tables": {"sessions": str() as sessions, "events": str() as events},
        }:
            session = header.get("Session")
            tables: dict[TableKind, str] = {"sessions": sessions, "events": events}
            descriptions = header.get("Descriptions")
            return Header(
                exported_at,
                region,
                tables,
                session if isinstance(session, str) else None,
                descriptions if isinstance(descriptions, dict) else None,
            )
        case _:
            raise _damaged(number, f"it is not the header of a {FORMAT}. Give a file that sessions_export wrote")


def _item(number: int, table: TableKind, item: Item) -> Item:
    try:
        decoded = {name: _attribute(name, value) for name, value in item.items()}
    except ValueError as exc:
        keys = {key.name: item.get(key.name) for key in TABLES[table].keys}
        raise _damaged(number, f"of the item {json.dumps(keys)[:300]} {exc}", ItemDamaged) from exc
    for key in TABLES[table].keys:
        if not decoded.get(key.name, {}).get("S"):
            raise _damaged(number, f"the item has no {key.name}, the key of the {table} table", ItemDamaged)
    return decoded


_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _attribute(path: str, value: Any) -> Item:
    """A typed attribute as a DynamoDB client takes it: binary decoded. Raises ``ValueError``."""
    match value:
        case {"S": str() as text} if len(value) == 1:
            return {"S": text}
        case {"N": str() as text} if len(value) == 1 and _NUMBER.fullmatch(text):
            return {"N": text}
        case {"BOOL": bool()} | {"NULL": True} if len(value) == 1:
            return dict(value)
        case {"B": str() as text} if len(value) == 1:
            return {"B": _bytes(path, text)}
        case {"M": dict() as entries} if len(value) == 1:
            return {"M": {name: _attribute(f"{path}.{name}", entry) for name, entry in entries.items()}}
        case {"L": list() as members} if len(value) == 1:
            return {"L": [_attribute(f"{path}[{place}]", member) for place, member in enumerate(members)]}
        case {"SS": list()} | {"NS": list()} | {"BS": list()} if len(value) == 1:
            [(kind, members)] = value.items()
            return {kind: [_attribute(path, {kind[0]: member})[kind[0]] for member in members]}
        case _:
            raise ValueError(f'the attribute {path} is not DynamoDB JSON, such as {{"S": "text"}} or {{"N": "1"}}')


def _refuse_lone_surrogates(number: int, value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise _damaged(number, "it holds a lone surrogate, which is no Unicode text", ItemDamaged) from exc


def _bytes(path: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"the attribute {path} is not base64 ({exc})") from exc


def _damaged(number: int, why: str, error: type[ExportDamaged] = ExportDamaged) -> ExportDamaged:
    return error(f"Line {number} of the export cannot be imported: {why}.")
