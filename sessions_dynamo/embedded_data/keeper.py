"""The embedded DynamoDB's tables in files: read before it serves, and written while it does whenever they changed.

A file holds the two tables of one service at one moment, or a table that has no partner, as an export would, with the
tables' descriptions in its header. It is written beside the former one and takes its name when it is whole and on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final, Self

from sessions_dynamo.client import EMBEDDED_REGION
from sessions_dynamo.conf import conf
from sessions_dynamo.embedded import EmbeddedServer
from sessions_dynamo.embedded_data import moto_tables
from sessions_dynamo.embedded_data.folder import DataFolder, FolderInUse, FolderUnusable, Hold
from sessions_dynamo.embedded_data.moto_tables import CopiedTable
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.transfer.export_files import seekable, unpacked, written_whole
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

LOOK_SECONDS: Final = 1.0
"""From one look for a change to the next."""
REST: Final = 4
"""Writing may take a fifth of the time: after it so many times as long passes before the next look."""
TROUBLE_SECONDS: Final = 15.0
"""To the next try where a file could not be written."""
COMPRESSION: Final = 1
"""The quickest: a file is written often, and read by this machine alone."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class _Content:
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


class Keeper:
    """Keeps the tables of this process's embedded server in a folder; ``close`` writes them a last time."""

    def __init__(self, folder: DataFolder, warn: Say) -> None:
        self._folder, self._warn = folder, warn
        self._holding = ExitStack()
        self._hold: Hold | None = None
        self._partners: dict[tuple[str, str], str] = {}
        """The events table beside each sessions table, by region and name, as the files have them."""
        self._written: dict[Path, _Content | None] = {}
        """What the files of ours hold; ``None`` for one that was read."""
        self._marks: dict[Path, tuple[int, int]] = {}
        """By what those files are known again."""
        self._server: EmbeddedServer | None = None
        self._seen = 0
        self._troubled = False
        self.keeps = False
        """Whether what changes is written: not before ``open``, and not where the folder cannot be had."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="embedded-data", daemon=True)

    def open(self) -> None:
        """Take the folder, and make the tables that its files hold; while no request is served.

        A file that is none of ours or is damaged gets another name and a warning. Raises ``FolderInUse``, and
        ``FolderUnusable`` for a file that may not be read. A folder that cannot be had is a warning: then nothing is
        kept.
        """
        try:
            self._take()
            self._folder.remove_partial()
            # The newest first: a table that has moved to another file may be in two after a kill.
            files = sorted(self._folder.files(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        except OSError as exc:
            # What it may hold was not read, so nothing is written there.
            self._warn(
                f"{self._folder} cannot be written ({exc.strerror}): the embedded DynamoDB is in memory only, and its"
                " data ends with this server. Mend that, or name another folder with DYNAMODB_EMBEDDED_DATA."
            )
            return
        for path in files:
            self._load(path)
        # Each item's line is made now, while nobody waits for it.
        list(moto_tables.copied())
        self.keeps = True

    def begin(self, server: EmbeddedServer) -> None:
        """Write what the server changes from now on, on a thread of its own."""
        if self.keeps:
            self._server = server
            self._thread.start()

    def close(self) -> None:
        """Write what has changed since the last time, and leave the folder to others."""
        self._stopping.set()
        if self._server:
            self._thread.join()
            self._save()
            if backups := moto_tables.backups():
                self._warn(f"{backups} backups ended with the embedded DynamoDB, which keeps none.")
        self._holding.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Read -------------------------------------------------------------------------------------------------

    def _load(self, path: Path) -> None:
        made: list[str] = []
        region = ""
        try:
            with seekable(str(path)) as stream:
                header, lines = _parsed(read(unpacked(stream)))
            region = header.region
            for kind, name in header.tables.items():
                if (description := (header.descriptions or {}).get(name)) and not moto_tables.exists(region, name):
                    made.append(name)
                    moto_tables.make(region, name, description, (each for each in lines if each.table == kind))
        except OSError as exc:
            raise self._unusable(path, exc) from exc
        except Exception as exc:
            # The description of another release, or of another's making, may fail in any way.
            for name in made:
                moto_tables.unmake(region, name)
            self._set_aside(path, exc)
            return
        self._note(path, None)
        if len(made) == len(TABLES):
            self._partners[region, header.tables["sessions"]] = header.tables["events"]

    def _set_aside(self, path: Path, why: Exception) -> None:
        try:
            aside = self._folder.set_aside(path)
        except OSError as exc:
            raise self._unusable(path, exc) from exc
        reason = str(why) if isinstance(why, ExportDamaged) else f"{type(why).__name__}: {why}"
        self._warn(
            f"{self._folder}/{path.name} does not hold tables that this release can read. {reason}\n"
            f"It is {aside.name} now, and its tables begin empty. What can be read of it is put back by:"
            f" python manage.py sessions_import --partial {self._folder}/{aside.name}"
        )

    def _unusable(self, path: Path, exc: OSError) -> FolderUnusable:
        return FolderUnusable(
            f"{self._folder}/{path.name} cannot be read ({exc.strerror}). Mend that, move the file away, or name"
            " another folder with DYNAMODB_EMBEDDED_DATA."
        )

    # --- Write ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            began = time.monotonic()
            self._save()
            pause = max(LOOK_SECONDS, REST * (time.monotonic() - began))
            if self._troubled:
                pause = max(pause, TROUBLE_SECONDS)

    def _save(self) -> None:
        assert self._server
        if self._server.writes == self._seen and not self._troubled:
            return
        with self._server.paused():
            seen = self._server.writes
            copies = list(moto_tables.copied())
        try:
            if self._hold is None or not self._hold.stands:
                self._take_again()
            self._write(copies)
        except FolderInUse as exc:
            self._trouble(f"{exc} The")
            return
        except OSError as exc:
            self._trouble(f"{self._folder} cannot be written ({exc.strerror}): the")
            return
        self._seen = seen
        if self._troubled:
            self._troubled = False
            self._warn(f"{self._folder} can be written again: the tables are kept there.")

    def _write(self, copies: Iterable[CopiedTable]) -> None:
        contents = {self._folder.file_of(each.region, each.copies[0].name): each for each in self._contents(copies)}
        for path, content in contents.items():
            if self._written.get(path) != content:
                with written_whole(path, compression=COMPRESSION) as file:
                    file.writelines(content.lines)
                self._note(path, content)
        # Last: until here a table that has moved to another file is in the former one, too.
        for path in self._written.keys() - contents.keys():
            path.unlink(missing_ok=True)
            del self._written[path], self._marks[path]

    def _contents(self, copies: Iterable[CopiedTable]) -> Iterator[_Content]:
        """Tables that serve together go into one file, so that it is of one moment; each other has its own."""
        left = {(each.region, each.name): each for each in copies}
        sessions, events = named_tables()
        own = (conf.AWS_REGION or EMBEDDED_REGION, sessions.name)
        for (region, first), second in {own: events.name, **(self._partners | {own: events.name})}.items():
            both = [left.get((region, name)) for name in (first, second)]
            found = [each for each, kind in zip(both, TABLES, strict=True) if each and each.kind == kind]
            for each in found:
                del left[region, each.name]
            if found:
                yield _Content(region, (("sessions", first), ("events", second)), tuple(found))
        for each in left.values():
            names: dict[TableKind, str] = {"sessions": sessions.name, "events": events.name, each.kind: each.name}
            yield _Content(each.region, tuple(names.items()), (each,))

    def _trouble(self, why: str) -> None:
        if not self._troubled:
            self._troubled = True
            self._warn(
                f"{why} embedded DynamoDB goes on in memory only, and what changes from now on is lost when it ends. It"
                " is tried again."
            )

    # --- The folder -------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Make the folder, and keep others out. Raises ``FolderInUse`` and ``OSError``."""
        self._folder.make()
        self._hold = self._holding.enter_context(self._folder.held())

    def _take_again(self) -> None:
        """Take the folder that somebody deleted, for every file to be written anew. Raises as ``_take``."""
        self._holding.close()
        self._hold = None
        self._take()
        if strangers := [path.name for path in self._folder.files() if self._marks.get(path) != _mark(path)]:
            self._holding.close()
            self._hold = None
            raise FolderInUse(f"{self._folder} was deleted, and has files of another site now: {', '.join(strangers)}.")
        self._written = dict.fromkeys(self._written)
        self._warn(f"{self._folder} was deleted while the site ran: it is made and filled again.")

    def _note(self, path: Path, content: _Content | None) -> None:
        self._written[path], self._marks[path] = content, _mark(path)


def _mark(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _parsed(parts: Iterable[Header | Line | Trailer]) -> tuple[Header, list[Line]]:
    """All of a file. Raises ``ExportDamaged`` unless it is whole and has its tables' descriptions."""
    header: Header | None = None
    lines: list[Line] = []
    for part in parts:
        match part:
            case Header():
                header = part
            case Line():
                lines.append(part)
            case Trailer() if sum(part.items.values()) != len(lines):
                raise ExportTruncated(
                    f"It holds {len(lines)} items, and its trailer counts {sum(part.items.values())}."
                )
    assert header is not None  # ``read`` yields it first or raises.
    if not header.descriptions:
        raise ExportDamaged("It is an export without its tables' descriptions: sessions_import reads it.")
    return header, lines
