"""Put the items of an export into both tables: the whole file is checked before the first is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from django.core.management.base import CommandError, CommandParser

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import INTERRUPTED, both_tables, command_errors, location
from sessions_dynamo.management.pace import PacedProgress
from sessions_dynamo.transfer import imports
from sessions_dynamo.transfer.export_files import seekable
from sessions_dynamo.transfer.export_format import TableKind

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Command(SessionsCommand):
    help = (
        "Puts the items of a file that sessions_export wrote into both tables. The whole file is checked first. Items"
        " that stand already are left as they are, so an interrupted import is run again and goes on."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a file of sessions_export, compressed or not; '-' is standard input")
        parser.add_argument("--dry-run", action="store_true", help="check the file and say what would be written")
        parser.add_argument("--overwrite", action="store_true", help="replace items that stand in the tables")
        parser.add_argument("--partial", action="store_true", help="import what there is of a file that was cut short")
        parser.add_argument(
            "--extend-ttl",
            type=arguments.hours,
            metavar="HOURS",
            help="let every item live at least so long from now; without it those past their ttl stay expired",
        )
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        self._tally = imports.Tally()
        sessions, events = both_tables(options)
        names: dict[TableKind, str] = {"sessions": sessions.name, "events": events.name}
        try:
            with command_errors(options["region"]), seekable(options["file"]) as file:
                client = dynamodb(options["region"])
                self.stdout.write(f"DynamoDB: {location(client)}")
                contents = self._check(file, options)
                action = "compare with" if options["dry_run"] else "write to"
                self.stdout.write(f"Plan: {action} {sessions.name} and {events.name}")
                self._load(file, names, client, contents, options)
        except KeyboardInterrupt:
            self.stdout.write(f"\nInterrupted: {self._summary(options)}. Run the same command again: it goes on.")
            sys.exit(INTERRUPTED)
        except OSError as exc:
            raise CommandError(f"{options['file']} cannot be read: {exc.strerror}.") from exc
        self._report(names, options)

    def _check(self, file: BinaryIO, options: dict[str, Any]) -> imports.Contents:
        progress = PacedProgress("checked")
        try:
            contents = imports.check(file, progress=lambda so_far: progress(so_far.items.total()))
        finally:
            progress.clear()
        header, items = contents.header, contents.items
        source = f"session {header.session}" if header.session else " and ".join(header.tables.values())
        self.stdout.write(f"File: {source} of {header.region}, exported {header.exported_at}")
        self.stdout.write(
            f"File: {items['sessions']:,} items of sessions ({contents.sessions:,} sessions),"
            f" {items['events']:,} items of events"
        )
        if contents.truncated:
            if not options["partial"]:
                raise CommandError(
                    f"{contents.truncated} Nothing was written. Export again, or add --partial to import what there is."
                )
            self.stdout.write(self.style.WARNING(str(contents.truncated)))
        expired = contents.expired.total()
        if expired and options["extend_ttl"] is None:
            self.stdout.write(
                self.style.WARNING(
                    f"{expired:,} of the items are past their ttl: gone for clients, and DynamoDB deletes them within"
                    " two days. --extend-ttl HOURS lets them live."
                )
            )
        return contents

    def _load(
        self,
        file: BinaryIO,
        names: dict[TableKind, str],
        client: DynamoDBClient,
        contents: imports.Contents,
        options: dict[str, Any],
    ) -> None:
        progress = PacedProgress("compared" if options["dry_run"] else "imported", contents.items.total())
        try:
            imports.load(
                file,
                names,
                client=client,
                overwrite=options["overwrite"],
                extend=options["extend_ttl"],
                dry_run=options["dry_run"],
                tally=self._tally,
                progress=lambda so_far: progress(so_far.done),
            )
        finally:
            progress.clear()

    def _summary(self, options: dict[str, Any]) -> str:
        written, standing = self._tally.written, self._tally.standing
        verb = "would be written" if options["dry_run"] else "written"
        return (
            f"{written['sessions']:,} items of sessions and {written['events']:,} of events {verb},"
            f" {standing.total():,} stood there already"
        )

    def _report(self, names: dict[TableKind, str], options: dict[str, Any]) -> None:
        tally = self._tally
        self.stdout.write(f"{self._summary(options)}.")
        if not tally.different:
            if options["dry_run"]:
                self.stdout.write("Nothing was written. Next: the same command without --dry-run")
            return
        for line in tally.conflicts:
            self.stdout.write(f"line {line.number}: {names[line.table]} has another {' '.join(line.key)}")
        raise CommandError(
            f"{tally.different:,} items stand otherwise in the tables and were left as they are: --overwrite replaces"
            " them with the file's."
        )
