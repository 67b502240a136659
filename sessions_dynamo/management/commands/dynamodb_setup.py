"""Create both tables, or bring them to what ``schema.py`` declares; safe to run again."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sessions_dynamo import tables, waiting
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.management.console import command_errors, location, step_line
from sessions_dynamo.steps import Outcome, Step
from sessions_dynamo.tables import NamedTable, TablePlan


class Command(BaseCommand):
    help = "Creates the DynamoDB tables with their indexes, streams, TTL and tags, or adds what they lack."
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sessions-table", metavar="NAME", help="default: DYNAMODB_SESSIONS_TABLE")
        parser.add_argument("--events-table", metavar="NAME", help="default: DYNAMODB_EVENTS_TABLE")
        parser.add_argument("--region", help="default: AWS_REGION")
        parser.add_argument("--environment", metavar="TAG", help="value of the Environment tag; default: ENVIRONMENT")
        parser.add_argument(
            "--no-wait",
            action="store_true",
            help="return without waiting for tables and indexes; run again later for what is pending",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        region, environment = options["region"], options["environment"]
        both = tables.named_tables(options["sessions_table"], options["events_table"])
        width = max(len(table.name) for table in both)
        with command_errors(region):
            client = dynamodb(region)
            self.stdout.write(f"DynamoDB: {location(client)}")
            plans = tables.plan(both, client=client, environment=environment)
            for planned in plans:
                self.stdout.write(f"Plan: {_summary(planned)}")
            steps = tables.apply(
                plans,
                client=client,
                environment=environment,
                patience=0 if options["no_wait"] else waiting.PATIENCE,
                report=lambda step: self._report(step, width),
            )
        if any(step.outcome is Outcome.PENDING for step in steps):
            self.stdout.write("Some of it is pending.")
            self.stdout.write("Next: python manage.py dynamodb_setup, again, with the same options")
        else:
            self.stdout.write(f"{both[0].name} and {both[1].name} are ready.")
            self.stdout.write(f"Next: {_next_command(both, region)}")

    def _report(self, step: Step, width: int) -> None:
        self.stdout.write(step_line(step, self.style, width))
        self.stdout.flush()


def _summary(planned: TablePlan) -> str:
    """What will be done to one table, in one line."""
    if planned.live is None:
        return f"create table {planned.table.name}"
    aspects = ", ".join(change.aspect for change in planned.changes if change.apply)
    return f"table {planned.table.name} exists, " + (f"change {aspects}" if aspects else "nothing to change")


def _next_command(both: tuple[NamedTable, NamedTable], region: str | None) -> str:
    """Start the service, with what it must be told besides its environment, or ask the one that runs already."""
    if settings.DYNAMODB_EMBEDDED:
        return "curl http://127.0.0.1:8062/readyz"
    given = {
        "AWS_REGION": (region, settings.AWS_REGION),
        "DYNAMODB_SESSIONS_TABLE": (both[0].name, settings.DYNAMODB_SESSIONS_TABLE),
        "DYNAMODB_EVENTS_TABLE": (both[1].name, settings.DYNAMODB_EVENTS_TABLE),
    }
    variables = [f"{name}={value}" for name, (value, default) in given.items() if value and value != default]
    module = settings.WSGI_APPLICATION.rpartition(".")[0]
    return " ".join([*variables, "python manage.py runserver" if settings.DEBUG else f"gunicorn {module}"])
