"""Files of exports: written whole or not at all, compressed where the name ends in ``.gz``; read more than once."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from sessions_dynamo.transfer.export_format import ExportDamaged, ExportTruncated, Lines

STANDARD: Final = "-"
"""Stands for standard input or output."""
PARTIAL_SUFFIX: Final = ".partial"

_GZIP_MAGIC: Final = b"\x1f\x8b"


@contextmanager
def written_whole(path: Path, *, compression: int = 9) -> Iterator[BinaryIO]:
    """A file to write that gets its name only when the block ends well, and is on disk then; its owner's alone to read.

    Whatever else happens leaves at most a file whose name ends in ``.partial``, and the former file of that name.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", compression, raw, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        Path(name).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Have a new name in a folder outlive a loss of power, where the system has that for folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def seekable(name: str) -> Iterator[BinaryIO]:
    """The bytes of a file or of standard input, which is kept in a temporary file so that it can be read twice."""
    if name != STANDARD:
        with Path(name).open("rb") as stream:
            yield stream
        return
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        yield kept


def unpacked(stream: BinaryIO) -> Lines:
    """The export in a stream, from its beginning, decompressed where it is gzip, whatever its name."""
    stream.seek(0)
    magic = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    return _Gunzipped(stream) if magic == _GZIP_MAGIC else stream


class _Gunzipped:
    """The lines of a compressed export. Raises ``ExportTruncated`` and ``ExportDamaged``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._packed = gzip.GzipFile(fileobj=stream, mode="rb")

    def readline(self, limit: int, /) -> bytes:
        try:
            return self._packed.readline(limit)
        except EOFError as exc:
            raise ExportTruncated("The compressed file ends in the middle: it was cut short.") from exc
        except (gzip.BadGzipFile, zlib.error) as exc:
            raise ExportDamaged(f"The compressed file is damaged ({exc}): copy it anew.") from exc
