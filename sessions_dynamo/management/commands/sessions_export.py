"""Write both tables, or one session, to a file of JSON Lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand, discard_output
from sessions_dynamo.management.console import INTERRUPTED, both_tables, command_errors, location
from sessions_dynamo.management.pace import PacedProgress
from sessions_dynamo.transfer import exports
from sessions_dynamo.transfer.export_files import STANDARD, written_whole


class Command(SessionsCommand):
    help = (
        "Writes every item of both tables, or one session with its large values and events, to a file of JSON Lines"
        " that sessions_import reads. Each item is as it was when it was read; what workers tell each other is"
        " left out."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="where to; compressed when it ends in .gz; '-' is standard output")
        parser.add_argument("--session", metavar="ID", help="one session instead of both tables")
        parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        name: str = options["file"]
        path = None if name == STANDARD else Path(name)
        both = both_tables(options)
        self._tally = exports.Tally()
        try:
            if path is not None:
                _check_target(path, overwrite=options["overwrite"])
            with command_errors(options["region"]):
                client = dynamodb(options["region"])
                self._say(f"DynamoDB: {location(client)}", path)
                source = f"session {options['session']}" if options["session"] else f"{both[0].name} and {both[1].name}"
                self._say(f"Plan: export {source} to {path or 'standard output'}", path)
                if options["session"]:
                    lines = exports.export_session(options["session"], both, client=client, tally=self._tally)
                else:
                    lines = exports.export_tables(both, client=client, tally=self._tally)
                self._write(lines, path)
        except KeyboardInterrupt:
            left = "it is incomplete" if path is None else f"{path} was not written"
            self._say(f"\nThe export was interrupted: {left}. Run the same command again.", path)
            sys.exit(INTERRUPTED)
        except OSError as exc:
            raise CommandError(f"The export cannot be written to {path or 'standard output'}: {exc.strerror}.") from exc
        self._report(path)

    def _write(self, lines: Iterable[str], path: Path | None) -> None:
        progress = PacedProgress("exported")
        try:
            if path is None:
                _to_standard_output(self._shown(lines, progress), self.stdout)
                return
            with written_whole(path) as file:
                file.writelines(line.encode() for line in self._shown(lines, progress))
        except BrokenPipeError as exc:
            discard_output()
            raise CommandError("Whoever reads the export stopped: it is incomplete.") from exc
        finally:
            progress.clear()

    def _shown(self, lines: Iterable[str], progress: PacedProgress) -> Iterator[str]:
        for line in lines:
            yield line
            progress(self._tally.items.total())

    def _report(self, path: Path | None) -> None:
        tally = self._tally
        text = filesizeformat(tally.bytes).replace("\xa0", " ")
        self._say(
            f"Exported {tally.items['sessions']:,} items of sessions ({tally.sessions:,} sessions,"
            f" {tally.values:,} large values) and {tally.items['events']:,} items of events: {text} of JSON Lines.",
            path,
        )
        if tally.of_the_moment:
            self._say(f"Left out: {tally.of_the_moment:,} items that are for the workers of now alone.", path)
        if tally.unused_values:
            self._say(
                f"Left out: {tally.unused_values:,} large values that no session points to; 'manage.py sessions_expire"
                " --orphans' deletes them.",
                path,
            )
        if tally.missing_values:
            self._say(f"{tally.missing_values:,} large values that sessions point to do not exist.", path)
        if path is not None:
            size = filesizeformat(path.stat().st_size).replace("\xa0", " ")
            self._say(f"{path}: {size}, readable by you alone; it holds the sessions' state.", path)
            self._say(f"Next: python manage.py sessions_import --dry-run {path}", path)

    def _say(self, line: str, path: Path | None) -> None:
        if path is None:  # Standard output is for the export.
            self.stderr.write(line, str)
        else:
            self.stdout.write(line)


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a directory: name a file in it.")
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is no ordinary file: '-' writes to standard output.")
    if not path.parent.is_dir():
        raise CommandError(f"There is no directory {path.parent}: make it first.")
    if path.exists() and not overwrite:
        raise CommandError(f"{path} exists already: choose another name, or add --overwrite.")


def _to_standard_output(lines: Iterable[str], out: Any) -> None:
    """Write UTF-8, whatever the locale, where the output is a stream of bytes underneath."""
    binary: BinaryIO | None = getattr(out, "buffer", None)
    for line in lines:
        if binary is None:
            out.write(line, str, ending="")
        else:
            binary.write(line.encode())
    out.flush()
