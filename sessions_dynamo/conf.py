"""Every setting of this app: its type and its default. A project's ``settings`` win, name by name.

They are read when they are asked for, so that importing this reads nothing and overriding a setting works at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, Self, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

T = TypeVar("T")

_UNSET: Final = object()

AWS_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB")
"""Anything that points at a real DynamoDB turns the embedded one off. A default AWS profile on disk does not count, so
that a first try never makes billable tables."""


class Setting(Generic[T]):
    """A setting, named for the attribute that it is.

    ``cast`` is of the environment's text, as django-environ has it; without one no variable sets it. ``derived`` is for
    a default that depends on other settings, which it is given.
    """

    name: str

    @overload
    def __init__(self, cast: Any, default: T, *, alias: str = "") -> None: ...

    @overload
    def __init__(self, cast: Any, *, derived: Callable[[Any], T]) -> None: ...

    def __init__(
        self, cast: Any, default: Any = None, *, derived: Callable[[Any], T] | None = None, alias: str = ""
    ) -> None:
        self.cast = cast
        self.default = default
        self.derived = derived
        self.alias = alias

    def __set_name__(self, owner: type[Settings], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[Settings]) -> Self: ...

    @overload
    def __get__(self, instance: Settings, owner: type[Settings]) -> T: ...

    def __get__(self, instance: Settings | None, owner: type[Settings]) -> Self | T:
        return self if instance is None else self.of(settings)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the environment that set it; the first wins."""
        return () if self.cast is None else tuple(filter(None, (self.name, self.alias)))

    def of(self, project: Any) -> T:
        """The value where a project's settings are these."""
        value: Any = getattr(project, self.name, _UNSET)
        if value is not _UNSET:
            return value  # type: ignore[no-any-return]
        return self.derived(project) if self.derived is not None else self.default

    def from_environment(self, env: Any, project: Any) -> T:
        """The value that a variable of this name (or its alias) sets; an empty one counts as unset.

        Raises ``ImproperlyConfigured`` for a text that is none of its type.
        """
        for name in self.variables:
            if text := env.str(name, default=""):
                try:
                    return env(name, cast=self.cast)  # type: ignore[no-any-return]
                except ValueError:
                    kind = "whole number" if self.cast is int else "number"
                    raise ImproperlyConfigured(f"{name}={text!r} is no {kind}, and has to be one.") from None
        return self.of(project)


class Settings:
    """What declares settings, as attributes."""

    @classmethod
    def declared(cls) -> Iterator[Setting[Any]]:
        """The settings in their order."""
        for value in vars(cls).values():
            if isinstance(value, Setting):
                yield value


_forgetting: Final[list[tuple[tuple[str, ...], Callable[[], None]]]] = []


def forget_on_change(forget: Callable[[], None], *names: str) -> None:
    """Call ``forget`` whenever a setting whose name begins with one of these is overridden, as tests do.

    For what is made of settings once a process.
    """

    def changed(*, setting: str, **_: object) -> None:
        if setting.startswith(names):
            forget()

    setting_changed.connect(changed, weak=False)
    _forgetting.append((names, forget))


def forget_made_of(setting: str) -> None:
    """Forget what was made of a setting, or of all that begin so, as if it had been overridden."""
    for names, forget in _forgetting:
        if setting.startswith(names):
            forget()


class AppSettings(Settings):
    """The settings of ``sessions_dynamo``."""

    # --- Which DynamoDB ---------------------------------------------------------------------------------------

    # botocore itself reads AWS_DEFAULT_REGION only; AWS_REGION is what ECS and Lambda set.
    AWS_REGION = Setting(
        str, derived=lambda _: os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    )
    DYNAMODB_SESSIONS_TABLE = Setting(str, "mcp-sessions", alias="DYNAMODB_TABLE")
    DYNAMODB_EVENTS_TABLE = Setting(str, "mcp-session-events")
    DYNAMODB_CREATE_TABLES = Setting(bool, False)
    """Create missing tables at the start."""
    DYNAMODB_EMBEDDED = Setting(
        bool, derived=lambda project: project.DEBUG and not any(os.environ.get(name) for name in AWS_VARIABLES)
    )
    """A server in memory beside runserver, for development."""
    DYNAMODB_EMBEDDED_PORT = Setting(int, 8063)
    DYNAMODB_EMBEDDED_DATA = Setting(str, ".data")
    """The folder that keeps its tables, from the project's own; ``off``: in memory only."""
    DYNAMODB_PAGE_SECONDS = Setting(float, 2.0)
    """A staff page waits so long for an answer, besides a second to connect: within 3 s it says that there is none."""

    # --- What the tables shall have; unset leaves it as it stands. Texts: ``tables.desired`` reads and checks them.

    ENVIRONMENT = Setting(str, "development")
    """The tables' tag of this name."""
    DYNAMODB_BILLING = Setting(str, "")
    DYNAMODB_PITR = Setting(str, "")
    DYNAMODB_DELETION_PROTECTION = Setting(str, "")
    DYNAMODB_KMS_KEY = Setting(str, "")
    DYNAMODB_REPLICA_REGIONS: Setting[Sequence[str]] = Setting(list, ())

    # --- How long and how much is kept ------------------------------------------------------------------------

    SESSION_TTL_HOURS = Setting(float, 24.0)
    EVENT_TTL_HOURS = Setting(float, 6.0)
    SESSION_IDLE_MINUTES = Setting(float, 30.0)
    """What pages call idle."""
    MAX_EVENTS_PER_SESSION = Setting(int, 1000)
    RECORD_CALLS = Setting(bool, True)
    RECORD_BODIES = Setting(bool, False)
    METRICS = Setting(str, "off")
    """``off``, ``emf`` or ``put``."""

    # --- What the server takes, under gunicorn and runserver --------------------------------------------------

    REQUEST_READ_SECONDS = Setting(float, 30.0)
    """For a request's head, and again for its whole body."""
    SEND_SECONDS = Setting(float, 30.0)
    """A client that takes nothing of its answer for so long is left."""
    MAX_CONNECTIONS = Setting(int, 12_000)
    """Open connections of a process; at most what its open files allow."""

    # --- How ``manage.py runserver`` behaves in this project --------------------------------------------------

    RUNSERVER_PORT = Setting(None, "8000")
    RUNSERVER_ANNOUNCES: Setting[Mapping[str, str]] = Setting(None, {})
    """Paths that are printed at the start, by what they are. The autoreloader's parent loads no URLs: an error in
    them is the child's to report, and an edit mends it."""
    RUNSERVER_PREPARES_DATABASE = Setting(None, False)
    """Migrate Django's database, and give an empty one its first staff account."""


conf: Final = AppSettings()
