"""``runserver`` over ASGI, with a DynamoDB beside it: what a first run needs is there before the site answers."""

from __future__ import annotations

import errno
import os
import secrets
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, CommandParser, call_command
from django.db import connections
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV, BaseReloader, StatReloader, autoreload_started
from django.utils.module_loading import import_string
from whitenoise.middleware import WhiteNoiseMiddleware

from sessions_dynamo import embedded
from sessions_dynamo.asgi_server.development import DevelopmentServer
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.embedded_data import folder as data_folder
from sessions_dynamo.embedded_data.keeper import Keeper
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.management.console import command_errors
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.names import named_tables

STAFF_USERNAME = "admin"
LOOK_SECONDS: Final = 0.25
"""Between two looks for an edit; each takes some 10 ms. Django's own is a second, of a restart that takes two."""


def _application_path() -> str:
    """The dotted path of the project's ASGI application; empty if there is none."""
    return getattr(settings, "ASGI_APPLICATION", None) or ""


def _is_whitenoise(path: str) -> bool:
    """Whether a middleware is WhiteNoise's, or made of it."""
    try:
        middleware = import_string(path)
    except ImportError:
        # The server itself reports it.
        return False
    return isinstance(middleware, type) and issubclass(middleware, WhiteNoiseMiddleware)


def _look_often(sender: BaseReloader, **_: Any) -> None:
    """Have Django's reloader see an edit soon, unless watchman tells it."""
    if isinstance(sender, StatReloader):
        sender.SLEEP_TIME = LOOK_SECONDS  # type: ignore[assignment]  # The stubs have Django's value, a whole second.


class Command(RunserverCommand):
    help = "Starts a web server for development: ASGI, static files, and a DynamoDB of its own where none is named."
    server_cls: Any = DevelopmentServer
    # Django sets them before it calls run().
    addr: str
    port: str
    use_ipv6: bool
    _raw_ipv6: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default_port = conf.RUNSERVER_PORT
        self._keeper: Keeper | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        if any(_is_whitenoise(path) for path in settings.MIDDLEWARE):
            # As in production.
            parser.set_defaults(use_static_handler=False)

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """The project's ASGI application, behind its static files unless it serves them itself."""
        path = _application_path()
        try:
            application = import_string(path)
        except ImportError as exc:
            raise ImproperlyConfigured(f"ASGI_APPLICATION={path!r} cannot be imported: {exc}") from exc
        if options["use_static_handler"] and (settings.DEBUG or options["insecure_serving"]):
            return ASGIStaticFilesHandler(application)
        return application

    def run(self, **options: Any) -> None:
        if not _application_path():
            project = os.environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0] or "project"
            raise CommandError(
                "ASGI_APPLICATION is not set, and runserver serves ASGI. Write into the settings:"
                f' ASGI_APPLICATION = "{project}.asgi.application"'
            )
        autoreload_started.connect(_look_often)
        code: object = 0
        try:
            if os.environ.get(DJANGO_AUTORELOAD_ENV) != "true":
                # The autoreloader's parent, or the only process: it outlives every restart of the child.
                self._prepare(options)
                self.stdout.flush()
            elif conf.DYNAMODB_EMBEDDED and not embedded.is_running():
                self._warn("The embedded DynamoDB is gone: stop this server and start it again.")
            super().run(**options)
        except SystemExit as exc:
            # An edit, say: the autoreloader ends this process, and another takes its place.
            code = exc.code
            raise
        finally:
            if self._keeper:
                self._keeper.close()
            DevelopmentServer.end(code)

    def _prepare(self, options: dict[str, Any]) -> None:
        self._refuse_taken_port()
        if not options["skip_checks"]:
            self.check(tags=[DYNAMODB])
        with command_errors():
            if conf.DYNAMODB_EMBEDDED:
                self._start_embedded()
            else:
                self._look_at_tables()
        if conf.RUNSERVER_PREPARES_DATABASE:
            self._prepare_database()
        for what, path in conf.RUNSERVER_ANNOUNCES.items():
            self.stdout.write(f"{what}: {self._url(path)}")

    def _refuse_taken_port(self) -> None:
        """Raise ``CommandError`` now rather than when all else is prepared."""
        if conf.DYNAMODB_EMBEDDED and int(self.port) == conf.DYNAMODB_EMBEDDED_PORT:
            raise CommandError(
                f"Port {self.port} is the embedded DynamoDB's own: serve on another, or set DYNAMODB_EMBEDDED_PORT."
            )
        try:
            # As the server will; what else is wrong with the address it says itself.
            DevelopmentServer((self.addr, int(self.port)), ipv6=self.use_ipv6).socket.close()
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {self.port} is taken at {self.addr}: stop the program that holds it, or serve elsewhere:"
                    f" python manage.py runserver {int(self.port) + 10}"
                ) from exc
        except OverflowError as exc:
            raise CommandError(f"{self.port} is no port: give one from 1 to 65535.") from exc

    def _start_embedded(self) -> None:
        folder = data_folder.configured()
        keeper = Keeper(folder, self._warn) if folder else None
        started = embedded.start(keeper.open if keeper else None)
        if started and keeper:
            self._keeper = keeper
            keeper.begin(started)
        setup.ensure_tables()
        where = f"DynamoDB: embedded at {dynamodb().meta.endpoint_url}"
        if not started:
            self.stdout.write(f"{where}, which another runserver started: its data is there.")
        elif keeper and keeper.keeps:
            self.stdout.write(f"{where}, its tables kept in {folder}.")
        else:
            self.stdout.write(f"{where}, in memory only: its data ends with this server.")

    def _look_at_tables(self) -> None:
        client = dynamodb()
        names = " and ".join(table.name for table in named_tables())
        self.stdout.write(f"DynamoDB: {client.meta.region_name}, {client.meta.endpoint_url}, tables {names}")
        try:
            setup.reachable()
        except TableMissing as exc:
            if conf.DYNAMODB_CREATE_TABLES:
                setup.create_missing(
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
                f"Staff login (shown this once): {self._url('/admin/')} user {STAFF_USERNAME} password {password}"
            )
        connections.close_all()

    def _url(self, path: str) -> str:
        host = f"[{self.addr}]" if self.use_ipv6 and self._raw_ipv6 else self.addr
        return f"{self.protocol}://{host}:{self.port}{path}"

    def _warn(self, message: str) -> None:
        self.stderr.write(self.style.WARNING(f"Warning: {message}"))
