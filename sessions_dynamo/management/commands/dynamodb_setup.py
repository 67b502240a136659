"""Create both tables, or bring them to what ``schema.py``, the options and the environment ask; safe to run again."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import AccessDenied, StorageError, TableMissing
from sessions_dynamo.management import arguments, setup_options
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import (
    INTERRUPTED,
    Waiting,
    both_tables,
    command_errors,
    location,
    standing,
    step_line,
)
from sessions_dynamo.tables import convergence, describing, setup, waiting
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.plans import TablePlan
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_WOULD_CHANGE = 2


class Command(SessionsCommand):
    help = (
        "Creates the DynamoDB tables, or brings them to what is declared: indexes, stream, TTL, tags, billing,"
        " recovery, protection, encryption, replicas. Prints the plan, makes the change, prints what now stands."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_where(parser)
        setup_options.add_arguments(parser)
        parser.add_argument(
            "--plan", action="store_true", help="print the plan and stop; exits 2 when something would change"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document: the plan, steps, tables")
        parser.add_argument(
            "--no-wait",
            action="store_true",
            help="return without waiting for tables, indexes and replicas; run again later for what is pending",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        with command_errors(options["region"]), self._interruptible(options):
            desired = setup_options.desired(options)
            both = both_tables(options)
            client = dynamodb(options["region"])
            if warning := setup_options.environment_warning(options, client):
                self.stderr.write(self.style.WARNING(f"Warning: {warning}"))
            run = _Run(self, both, client, options)
            plans = run.plan(desired)
            if options["plan"]:
                run.finish()
                sys.exit(_plan_status(plans))
            steps = run.apply(plans)
            run.finish()
        if refused := convergence.refusals(steps):
            raise CommandError(_refused(refused))

    @contextmanager
    def _interruptible(self, options: dict[str, Any]) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            # What was sent goes on at AWS, and the next run reads what stands.
            self.stderr.write(f"\nInterrupted. To complete it, run again: {command_line(options)}")
            sys.exit(INTERRUPTED)


class _Run:
    """One run: what it plans, does and finds, told in lines or, at its end, as one JSON document."""

    def __init__(
        self, command: Command, both: tuple[NamedTable, NamedTable], client: DynamoDBClient, options: dict[str, Any]
    ) -> None:
        self._both, self._client, self._options = both, client, options
        self._out, self._style = command.stdout, command.style
        self._width = max(len(table.name) for table in both)
        # Standard output is the document's alone.
        self._waiting = Waiting(command.stderr if options["json"] else command.stdout)
        self._plans: tuple[TablePlan, ...] = ()
        self._planned: set[str] = set()
        self._steps: list[Step] = []
        self._location = location(client)
        self._line(f"DynamoDB: {self._location}")

    def plan(self, desired: Desired) -> tuple[TablePlan, ...]:
        with self._error_told():
            self._plans = setup.plan(self._both, client=self._client, desired=desired)
        for planned in self._plans:
            self._line(f"Plan: {_summary(planned)}")
            for change in planned.changes:
                step = Step(planned.table.name, change.aspect, change.outcome, change.detail)
                self._planned.add(self._step_line(step))
                self._line(self._step_line(step))
        return self._plans

    def apply(self, plans: Iterable[TablePlan]) -> list[Step]:
        self._line("Steps:" if any(planned.to_do for planned in plans) else "Steps: none")
        with self._error_told():
            return setup.apply(
                plans,
                client=self._client,
                patience=0 if self._options["no_wait"] else waiting.PATIENCE,
                report=self._report,
                progress=self._waiting,
            )

    def finish(self) -> None:
        """What now stands, and what comes next."""
        if self._options["json"]:
            self._document()
            return
        self._line("Now:")
        for name, live in self._standing():
            self._line(f"{name:{self._width}}  {live if isinstance(live, str) else standing(live)}")
        if self._options["plan"]:
            if any(planned.to_do for planned in self._plans):
                self._line(f"Next: {command_line(self._options | {'plan': False})}")
            return
        if convergence.refusals(self._steps):
            return
        if any(step.outcome is Outcome.PENDING for step in self._steps):
            self._line("Some of it is pending.")
            self._line(f"Next: {command_line(self._options)}")
        else:
            self._line(f"{self._both[0].name} and {self._both[1].name} are ready.")
            self._line(f"Next: {_next_command(self._both, self._options['region'])}")

    @contextmanager
    def _error_told(self) -> Iterator[None]:
        """The document tells an error that ends the run, too."""
        try:
            yield
        except StorageError as exc:
            if self._options["json"]:
                self._document(error=str(exc))
            raise
        finally:
            self._waiting.clear()

    def _report(self, step: Step) -> None:
        self._steps.append(step)
        # What the plan has said in these words already is no news.
        if self._step_line(step) not in self._planned:
            self._waiting.clear()
            self._line(self._step_line(step))

    def _step_line(self, step: Step) -> str:
        return step_line(step, self._style, self._width)

    def _line(self, text: str) -> None:
        if not self._options["json"]:
            self._out.write(text)
            self._out.flush()

    def _standing(self) -> Iterator[tuple[str, TableDescription | str]]:
        """Each table as it stands, or why that cannot be told."""
        for table in self._both:
            try:
                yield table.name, describing.describe(table.name, self._client)
            except TableMissing:
                yield table.name, "does not exist"
            except AccessDenied as exc:
                yield table.name, str(exc)

    def _document(self, error: str | None = None) -> None:
        document = {
            "location": self._location,
            "plan": [planned.as_dict() for planned in self._plans],
            "steps": [
                {"table": step.table, "aspect": step.aspect, "outcome": str(step.outcome), "detail": step.detail}
                for step in self._steps
            ],
            "pending": any(step.outcome is Outcome.PENDING for step in self._steps),
        }
        if error:
            document["error"] = error
        else:
            document["tables"] = [live.as_dict() for _, live in self._standing() if not isinstance(live, str)]
        self._out.write(json.dumps(document, indent=2))


def _summary(planned: TablePlan) -> str:
    """What will be done to one table, in one line."""
    name = planned.table.name
    if planned.blocked:
        return f"table {name} stays as it is: " + ", ".join(
            f"cannot change {change.aspect}" for change in planned.blocked
        )
    if planned.changes[0].outcome is Outcome.CREATE:
        return f"create table {name}"
    if planned.live is None:
        return f"table {name} cannot be looked at"
    aspects = ", ".join(change.aspect for change in planned.to_do)
    return f"table {name} exists, " + (f"change {aspects}" if aspects else "nothing to change")


def command_line(options: dict[str, Any]) -> str:
    """The command with the options that it was given, to run again."""
    words = ["python", "manage.py", "dynamodb_setup"]
    for name in _RECALLED:
        value, flag = options[name], f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is False and name in ("pitr", "deletion_protection"):
            words.append(f"--no-{name.replace('_', '-')}")
        elif value not in (None, False):
            words += [flag, str(value)]
    return shlex.join(words)


_RECALLED = (
    "sessions_table",
    "events_table",
    "region",
    "regions",
    "billing",
    "read",
    "write",
    "autoscale",
    "pitr",
    "deletion_protection",
    "kms_key",
    "environment",
    "plan",
    "json",
    "no_wait",
)


def _plan_status(plans: Iterable[TablePlan]) -> int:
    """2 when something would change, else 1 when something cannot, else 0."""
    if any(planned.to_do for planned in plans if not planned.blocked):
        return _WOULD_CHANGE
    outcomes = {change.outcome for planned in plans for change in planned.changes}
    return 1 if outcomes & {Outcome.CANNOT_CHANGE, Outcome.DENIED} else 0


def _refused(steps: Iterable[Step]) -> str:
    lines = [f"{step.table}, {step.aspect}: {step.outcome}. {step.detail}" for step in steps]
    tables_left = dict.fromkeys(step.table for step in steps if step.outcome is Outcome.CANNOT_CHANGE)
    lines += [f"Nothing of {name} was changed." for name in tables_left]
    return "\n".join(lines)


def _next_command(both: tuple[NamedTable, NamedTable], region: str | None) -> str:
    """Start the service, with what it must be told besides its environment, or ask the one that runs already."""
    if conf.DYNAMODB_EMBEDDED:
        return "curl http://127.0.0.1:8062/readyz"
    given = {
        "AWS_REGION": (region, conf.AWS_REGION),
        "DYNAMODB_SESSIONS_TABLE": (both[0].name, conf.DYNAMODB_SESSIONS_TABLE),
        "DYNAMODB_EVENTS_TABLE": (both[1].name, conf.DYNAMODB_EVENTS_TABLE),
    }
    variables = [f"{name}={value}" for name, (value, default) in given.items() if value and value != default]
    # Django's own template of a project has the module, and no setting that names it.
    application = getattr(settings, "ASGI_APPLICATION", None) or f"{settings.ROOT_URLCONF.rpartition('.')[0]}.asgi."
    module = application.rpartition(".")[0]
    return " ".join([*variables, "python manage.py runserver" if settings.DEBUG else f"gunicorn {module}"])
