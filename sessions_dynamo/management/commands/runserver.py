"""``runserver`` with a DynamoDB beside it: what a first run needs is there before the site answers."""

from __future__ import annotations

import os
import secrets
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

# Not staticfiles' own: WhiteNoise's subclass of it leaves static files to WhiteNoise, as in production.
from whitenoise.runserver_nostatic.management.commands.runserver import Command as RunserverCommand

from sessions_dynamo import embedded, tables
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.management.console import command_errors

# Paths that the README promises. Spelled here because the autoreloader's parent loads no URLs: an error in them is the
# child's to report, and an edit mends it.
ENDPOINT_PATH = "/mcp"
STAFF_PATH = "/admin/"
STAFF_USERNAME = "admin"


class Command(RunserverCommand):  # type: ignore[misc]  # WhiteNoise finds its base at run time
    default_port = "8062"

    def run(self, **options: Any) -> None:
        if os.environ.get(DJANGO_AUTORELOAD_ENV) != "true":
            # The autoreloader's parent, or the only process: it outlives every restart of the child.
            self._prepare(options)
            self.stdout.flush()
        elif settings.DYNAMODB_EMBEDDED and not embedded.is_running():
            self._warn("The embedded DynamoDB is gone: stop this server and start it again.")
        super().run(**options)

    def _prepare(self, options: dict[str, Any]) -> None:
        if not options["skip_checks"]:
            self.check(tags=[DYNAMODB])
        with command_errors():
            if settings.DYNAMODB_EMBEDDED:
                self._start_embedded()
            else:
                self._look_at_tables()
        if settings.DEBUG and not settings.DATABASE_URL_IS_SET:
            self._prepare_database()
        self.stdout.write(f"MCP endpoint: {self._url(ENDPOINT_PATH)}")
        self.stdout.write(f"Staff pages: {self._url(STAFF_PATH)}")

    def _start_embedded(self) -> None:
        started = embedded.start()
        tables.ensure_tables()
        owner = "this server" if started else "the runserver that started it"
        self.stdout.write(
            f"DynamoDB: embedded at {dynamodb().meta.endpoint_url}, in memory only: its data ends with {owner}."
        )

    def _look_at_tables(self) -> None:
        client = dynamodb()
        names = " and ".join(table.name for table in tables.named_tables())
        self.stdout.write(f"DynamoDB: {client.meta.region_name}, {client.meta.endpoint_url}, tables {names}")
        try:
            tables.reachable()
        except TableMissing as exc:
            if settings.DYNAMODB_CREATE_TABLES:
                tables.create_missing(
                    report=lambda step: self.stdout.write(f"{step.table} {step.aspect} {step.outcome}")
                )
            else:
                self._warn(str(exc))
        except StorageError as exc:
            # Not fatal: the site answers, and /readyz says the same until it is mended.
            self._warn(str(exc))

    def _prepare_database(self) -> None:
        """Migrate the default SQLite file, and give an empty one its first staff account."""
        call_command("migrate", verbosity=0, interactive=False)
        if apps.is_installed("django.contrib.auth") and not get_user_model().objects.exists():
            password = secrets.token_urlsafe(12)
            get_user_model().objects.create_superuser(STAFF_USERNAME, password=password)
            self.stdout.write(
                f"Staff login (shown this once): {self._url(STAFF_PATH)} user {STAFF_USERNAME} password {password}"
            )
        connections.close_all()

    def _url(self, path: str) -> str:
        host = f"[{self.addr}]" if self.use_ipv6 and self._raw_ipv6 else self.addr
        return f"{self.protocol}://{host}:{self.port}{path}"

    def _warn(self, message: str) -> None:
        self.stderr.write(self.style.WARNING(f"Warning: {message}"))
