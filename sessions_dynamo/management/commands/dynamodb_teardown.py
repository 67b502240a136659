"""Back up the tables, empty them, stop their streams or delete them; shows what exists before it touches anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from sessions_dynamo.backups import on_demand
from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import (
    Waiting,
    both_tables,
    command_errors,
    interrupted,
    location,
    step_line,
)
from sessions_dynamo.management.progress import ProgressBar, duration
from sessions_dynamo.management.questions import choose, confirm_names, on_terminal
from sessions_dynamo.management.teardown import (
    DESTRUCTIVE,
    FULL_CLEANUP,
    HELP,
    MENU,
    Action,
    command_line,
    items,
    plan_line,
    standing_line,
)
from sessions_dynamo.tables import clearing, describing, removal
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome, Report, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Standing = dict[NamedTable, TableDescription]


@dataclass(slots=True)
class Run:
    """How far a run has come, for its last lines."""

    actions: Sequence[Action] = ()
    doing: str = ""
    pending: list[Action] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    """Items, by table, that were written while it was cleared."""
    stamp: str | None = None
    """Of the backups that were made."""


class Command(SessionsCommand):
    help = (
        "Backs the tables up, clears their data, disables their streams or deletes them, in this order."
        " Without an option it asks. Safe to run again after an interruption."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        for action, text in HELP.items():
            parser.add_argument(action.flag, action="store_true", help=text)
        parser.add_argument("--all", action="store_true", help="create backups, then delete: --backup --delete")
        parser.add_argument("--yes", action="store_true", help="do not ask before data is lost")
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        actions = [action for action in Action if options[action] or (options["all"] and action in FULL_CLEANUP)]
        if not actions and not on_terminal():
            flags = ", ".join([*(action.flag for action in HELP), "--all"])
            raise CommandError(f"Say what to do, with one or more of {flags}.")
        self.waiting = Waiting(self.stdout)
        self.run = Run()
        try:
            with command_errors(options["region"]):
                self._teardown(actions, options)
        except KeyboardInterrupt:
            raise interrupted(self._interrupted(options)) from None
        finally:
            self.waiting.clear()

    def _teardown(self, actions: Sequence[Action], options: dict[str, Any]) -> None:
        client = dynamodb(options["region"])
        self._say(f"DynamoDB: {location(client)}")
        both = both_tables(options)
        standing = self._show(both, client)
        if standing and not actions:
            chosen = {action for place in choose([text for text, _ in MENU], self._say) for action in MENU[place][1]}
            actions = [action for action in Action if action in chosen]
        self.run.actions = actions
        # Everything that speaks against it is said before anything is touched.
        _refuse(standing, actions)
        for action in actions if standing else ():
            for table, live in standing.items():
                self._say(f"Plan: {plan_line(action, table, live)}")
        if not options["yes"]:
            self._confirm(standing, actions)
        for action in actions:
            self._act(action, both, standing, client)
        self._conclude(actions, both, client, options)

    # --- What exists, and what shall become of it -------------------------------------------------------------

    def _show(self, both: Sequence[NamedTable], client: DynamoDBClient) -> Standing:
        """Print what exists and return it."""
        standing = {}
        for table in both:
            try:
                live = standing[table] = describing.describe(table.name, client)
            except TableMissing:
                self._say(f"{table.name}: does not exist")
                continue
            self._say(f"{table.name}: {standing_line(live)}")
        if standing and is_aws(client):
            self._say("AWS refreshes the counts of items and bytes about every six hours.")
        return standing

    def _confirm(self, standing: Standing, actions: Sequence[Action]) -> None:
        losing = [action for action in actions if action in DESTRUCTIVE]
        if not standing or not losing:
            return
        what = " and ".join(HELP[action].partition(",")[0] for action in losing)
        if not on_terminal():
            raise CommandError(f"To {what} cannot be undone: add --yes. Nothing was changed.")
        self._say(self.style.WARNING(f"To {what} cannot be undone."))
        confirm_names(table.name for table in standing)

    # --- The change -------------------------------------------------------------------------------------------

    def _act(self, action: Action, both: Sequence[NamedTable], standing: Standing, client: DynamoDBClient) -> None:
        report = partial(self._report, action, max(len(table.name) for table in both))
        # A table that is on its way out holds nothing that could still be kept or cleared.
        usable = {table: live for table, live in standing.items() if live.status != "DELETING"}
        match action:
            case Action.BACKUP:
                if usable:
                    self._back_up(list(usable), client, report)
            case Action.CLEAR_DATA:
                for table, live in usable.items():
                    report(self._clear(table, live, client))
            case Action.DISABLE_STREAMS:
                for table, live in usable.items():
                    report(self._disable_stream(table, live, client))
            case Action.DELETE:
                for table in both:
                    self._delete(table, table in standing, client, report)

    def _back_up(self, usable: Sequence[NamedTable], client: DynamoDBClient, report: Report) -> None:
        self.run.doing = f"backing up {' and '.join(table.name for table in usable)}"
        try:
            made = on_demand.create(usable, client=client, progress=self.waiting, report=report)
        except StorageError as exc:
            raise type(exc)(f"{exc}\nNo table was changed: nothing is done without its backup.") from exc.__cause__
        self.run.stamp = made[0].stamp

    def _clear(self, table: NamedTable, live: TableDescription, client: DynamoDBClient) -> Step:
        self.run.doing = f"clearing {table.name}"
        bar = ProgressBar(self.stdout, table.name, live.item_count)
        try:
            cleared = clearing.clear(table, client=client, heard=bar)
        except BaseException:
            bar.clear()
            self._say(f"{table.name}: {items(bar.done)} deleted, then it was cut short")
            raise
        bar.clear()
        self.run.left[table.name] = cleared.left
        if not cleared.deleted and not cleared.left:
            return Step(table.name, "items", Outcome.UNCHANGED, "none")
        detail = f"{items(cleared.deleted)} in {duration(bar.seconds)}, {bar.rate:,.0f} a second"
        if cleared.left:
            detail += f"; {items(cleared.left)} written meanwhile, and still there"
        return Step(table.name, "items", Outcome.DELETED, detail)

    def _disable_stream(self, table: NamedTable, live: TableDescription, client: DynamoDBClient) -> Step:
        self.run.doing = f"turning off the stream of {table.name}"
        if regions := removal.replica_regions(live):
            # Deletion follows, or it would have been refused.
            return Step(table.name, "stream", Outcome.UNCHANGED, f"on, for the replicas in {', '.join(regions)}")
        return removal.disable_stream(table.name, client=client, progress=self.waiting)

    def _delete(self, table: NamedTable, stood: bool, client: DynamoDBClient, report: Report) -> None:
        if stood:
            self.run.doing = f"deleting {table.name}"
            try:
                report(removal.delete_table(table.name, client=client, progress=self.waiting, report=report))
                return
            except TableMissing:
                # Somebody else was first.
                report(Step(table.name, "table", Outcome.DELETED))
        if step := removal.forget_deleted(table, client=client):
            self.run.doing = f"deleting {table.name}"
            report(step)

    def _report(self, action: Action, width: int, step: Step) -> None:
        self.waiting.clear()
        if step.outcome is Outcome.PENDING and action not in self.run.pending:
            self.run.pending.append(action)
        self._say(step_line(step, self.style, width))

    # --- What now stands --------------------------------------------------------------------------------------

    def _conclude(
        self, actions: Sequence[Action], both: Sequence[NamedTable], client: DynamoDBClient, options: dict[str, Any]
    ) -> None:
        if not self.run.doing:
            self._say("Nothing was changed.")
            return
        self._say("Now:")
        for table in both:
            try:
                live = describing.describe(table.name, client)
            except TableMissing:
                self._say(f"{table.name}: does not exist")
            else:
                self._say(f"{table.name}: {standing_line(live, self.run.left.get(table.name))}")
        if self.run.stamp:
            self._say(f"To restore the backups: python manage.py dynamodb_restore --set {self.run.stamp}")
        if self.run.pending:
            self._say("Some of it is pending.")
            self._say(f"Next: {command_line(self.run.pending, options)}")
        elif Action.DELETE in actions or Action.DISABLE_STREAMS in actions:
            self._say("To make the tables, or their streams, again: python manage.py dynamodb_setup")
        elif any(self.run.left.values()):
            self._say(f"Next: stop the servers that write, then {command_line([Action.CLEAR_DATA], options)}")

    def _interrupted(self, options: dict[str, Any]) -> str:
        if not self.run.doing:
            return "Interrupted. Nothing was changed."
        return (
            f"Interrupted while {self.run.doing}. What was done stands, and AWS goes on with what it was asked for."
            f" To do the rest: {command_line(self.run.actions, options)}"
        )

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _refuse(standing: Standing, actions: Sequence[Action]) -> None:
    for table, live in standing.items():
        if Action.CLEAR_DATA in actions:
            clearing.refuse_if_foreign(table, live)
        if Action.DELETE in actions:
            removal.refuse_if_protected(live)
        elif Action.DISABLE_STREAMS in actions:
            removal.refuse_if_stream_is_needed(live)
