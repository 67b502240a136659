"""The embedded DynamoDB's tables in files: read before it serves, and written while it does whenever they changed.

A file holds the two tables of one service at one moment, or a table that has no partner, as an export would, with the
tables' descriptions in its header. It is written beside the former one and takes its name when it is whole and on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from sessions_dynamo.client import EMBEDDED_REGION
from sessions_dynamo.conf import conf
from sessions_dynamo.embedded import EmbeddedServer
from sessions_dynamo.embedded_data import moto_tables
from sessions_dynamo.embedded_data.content import Content, read_content
from sessions_dynamo.embedded_data.folder import DataFolder, FolderInUse, FolderUnusable, Hold
from sessions_dynamo.embedded_data.moto_tables import CopiedTable
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.transfer.export_files import written_whole
from sessions_dynamo.transfer.export_format import TABLES, ExportDamaged, ExportTruncated, TableKind

LOOK_SECONDS: Final = 1.0
"""From one look for a change to the next."""
REST: Final = 4
"""Writing may take a fifth of the time: after it so many times as long passes before the next look."""
TROUBLE_SECONDS: Final = 15.0
"""To the next try where a file could not be written."""
COMPRESSION: Final = 1
"""The quickest: a file is written often, and read by this machine alone."""
NAMED: Final = 3
"""Items that cannot be read and are told one by one; the others are counted."""

Say = Callable[[str], object]


class Keeper:
    """Keeps the tables of this process's embedded server in a folder; ``close`` writes them a last time."""

    def __init__(self, folder: DataFolder, warn: Say) -> None:
        self._folder, self._warn = folder, warn
        self._holding = ExitStack()
        self._hold: Hold | None = None
        self._partners: dict[tuple[str, str], str] = {}
        """The events table beside each sessions table, by region and name, as the files have them."""
        self._written: dict[Path, Content | None] = {}
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

        A file that is none of ours or is damaged gets another name and a warning. Of one with items that cannot be read
        all else is served, with a warning and a copy of it as it was. Raises ``FolderInUse``, and ``FolderUnusable``
        for a file that may not be read. A folder that cannot be had is a warning: then nothing is kept.
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
            found = read_content(path)
            region = found.header.region
            for kind, name in found.header.tables.items():
                description = (found.header.descriptions or {}).get(name)
                if description and not moto_tables.exists(region, name):
                    made.append(name)
                    moto_tables.make(region, name, description, (each for each in found.items if each.table == kind))
            if found.unreadable:
                self._copy_aside(path, found.unreadable)
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
            self._partners[region, found.header.tables["sessions"]] = found.header.tables["events"]

    def _copy_aside(self, path: Path, unreadable: Sequence[ExportDamaged]) -> None:
        aside = self._folder.copy_aside(path)
        # The next file is without them, so that they are told once.
        self._seen = -1
        named = " ".join(str(each) for each in unreadable[:NAMED])
        more = f" So are {len(unreadable) - NAMED} more." if len(unreadable) > NAMED else ""
        self._warn(
            f"{self._folder}/{path.name} holds what no DynamoDB takes. {named}{more}\n"
            f"All else of it is served; the file as it was is {aside.name} now."
        )

    def _set_aside(self, path: Path, why: Exception) -> None:
        try:
            aside = self._folder.set_aside(path)
        except OSError as exc:
            raise self._unusable(path, exc) from exc
        reason = str(why) if isinstance(why, ExportDamaged) else f"{type(why).__name__}: {why}"
        again = ""
        if isinstance(why, ExportTruncated):
            command = f"python manage.py sessions_import --partial {self._folder}/{aside.name}"
            again = f" What can be read of it is put back by: {command}"
        self._warn(
            f"{self._folder}/{path.name} does not hold tables that this release can read. {reason}\n"
            f"It is {aside.name} now, and its tables begin empty.{again}"
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

    def _contents(self, copies: Iterable[CopiedTable]) -> Iterator[Content]:
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
                yield Content(region, (("sessions", first), ("events", second)), tuple(found))
        for each in left.values():
            names: dict[TableKind, str] = {"sessions": sessions.name, "events": events.name, each.kind: each.name}
            yield Content(each.region, tuple(names.items()), (each,))

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

    def _note(self, path: Path, content: Content | None) -> None:
        self._written[path], self._marks[path] = content, _mark(path)


def _mark(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
