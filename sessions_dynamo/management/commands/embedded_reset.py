"""Delete what the embedded DynamoDB keeps over restarts; ``make reset``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.template.defaultfilters import filesizeformat

from sessions_dynamo.embedded_data import folder as data_folder
from sessions_dynamo.embedded_data.folder import DataFolder, FolderInUse
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import interruptible


class Command(SessionsCommand):
    help = (
        "Deletes the files in which runserver's embedded DynamoDB keeps its tables (DYNAMODB_EMBEDDED_DATA): the next"
        " one begins empty. Refuses while a site runs on them. Tables on AWS or elsewhere are not touched."
    )
    requires_system_checks = ()

    def handle(self, *_: Any, **options: Any) -> None:
        with interruptible("Interrupted. Run it again for what is left."):
            self._reset(data_folder.configured())

    def _reset(self, folder: DataFolder | None) -> None:
        if folder is None:
            self.stdout.write("Nothing to forget: DYNAMODB_EMBEDDED_DATA is off, and the tables are in memory only.")
            return
        if not folder.path.is_dir():
            self.stdout.write(f"Nothing to forget: there is no folder {folder}.")
            return
        try:
            with folder.held():
                for path in folder.files():
                    size = filesizeformat(path.stat().st_size).replace("\xa0", " ")
                    self.stdout.write(f"Delete {folder}/{path.name}, {size}")
                found = folder.forget()
        except FolderInUse as exc:
            raise CommandError(f"{exc} Stop it first, then run this again. Nothing was deleted.") from exc
        except OSError as exc:
            raise CommandError(f"{folder} cannot be emptied: {exc.strerror} ({exc.filename}).") from exc
        self.stdout.write("Forgotten: the next runserver begins with empty tables." if found else "Nothing to forget.")
