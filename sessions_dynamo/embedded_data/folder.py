"""The folder that the embedded DynamoDB's tables are kept in: whose it is, which files are ours, how they end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from django.conf import settings

from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageError
from sessions_dynamo.transfer.export_files import PARTIAL_SUFFIX, written_whole

SUFFIX: Final = ".jsonl.gz"
MEMORY_ONLY: Final = ("", "off")
"""What ``DYNAMODB_EMBEDDED_DATA`` says where nothing shall be kept."""

_LOCK: Final = ".lock"
_LOCKED_BYTE: Final = 1 << 20
"""Windows lets nobody read what is locked there, so that the lock is on a byte far behind the process's number."""
_IGNORED_BY_GIT: Final = ".gitignore"


class FolderInUse(StorageError):
    """Another process serves the tables that a folder keeps."""


class FolderUnusable(StorageError):
    """A folder, or a file in it, that cannot be read or written; the message says why."""


def configured() -> DataFolder | None:
    """The folder that ``DYNAMODB_EMBEDDED_DATA`` names, from the project's own; ``None`` for memory only."""
    if conf.DYNAMODB_EMBEDDED_DATA in MEMORY_ONLY:
        return None
    return DataFolder(Path(getattr(settings, "BASE_DIR", None) or Path.cwd()) / conf.DYNAMODB_EMBEDDED_DATA)


@dataclass(frozen=True, slots=True)
class Hold:
    """A folder that this process has to itself."""

    _lock: TextIO
    _path: Path

    @property
    def stands(self) -> bool:
        """Whether it keeps others out; not where somebody has deleted the folder, or the file that is locked in it."""
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), self._path.stat())
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One folder; nothing in it is touched but what this app puts there."""

    path: Path

    def __str__(self) -> str:
        """As one would type it, from the current directory."""
        with suppress(ValueError):
            return str(self.path.relative_to(Path.cwd()))
        return str(self.path)

    def make(self) -> None:
        """Make the folder, its owner's alone, if it does not exist. Raises ``OSError``."""
        if self.path.is_dir():
            return
        self.path.mkdir(mode=0o700, parents=True)
        (self.path / _IGNORED_BY_GIT).write_text("# What an embedded DynamoDB keeps is this machine's alone.\n*\n")

    @contextmanager
    def held(self) -> Iterator[Hold]:
        """Keep other processes out until the block or this process ends. Raises ``FolderInUse`` and ``OSError``."""
        path = self.path / _LOCK
        with path.open("a+") as lock:
            if not _try_lock(lock.fileno()):
                lock.seek(0)
                process = lock.read().strip() or "(unknown)"
                raise FolderInUse(f"{self} is in use: the site of process {process} keeps its tables there.")
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield Hold(lock, path)

    def files(self) -> list[Path]:
        """The files that tables are kept in, in order of their names."""
        return sorted(path for path in self.path.glob(f"*{SUFFIX}") if path.is_file())

    def file_of(self, region: str, table: str) -> Path:
        return self.path / f"{region}.{table}{SUFFIX}"

    def set_aside(self, path: Path) -> Path:
        """Give a file that cannot be used a name under which nothing is read or written; the new one."""
        return path.rename(_aside(path))

    def copy_aside(self, path: Path) -> Path:
        """Copy a file of which not all can be used to such a name, and leave it where it is; the copy's."""
        aside = _aside(path)
        with path.open("rb") as file, written_whole(aside) as copy:
            shutil.copyfileobj(file, copy)
        return aside

    def remove_partial(self) -> None:
        """Delete what a process that was killed had begun to write."""
        for path in self.path.glob(f".*{SUFFIX}.*{PARTIAL_SUFFIX}"):
            path.unlink(missing_ok=True)

    def forget(self) -> list[Path]:
        """Delete the tables' files; those that were there. The folder stays, for its lock is in it."""
        found = self.files()
        self.remove_partial()
        for path in found:
            path.unlink()
        return found


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%d-%H%M%S}.unreadable")


def _try_lock(descriptor: int) -> bool:
    """Whether this process has the file's lock now, which ends with the process, however that ends."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
