"""Delete what has expired before Time to Live does, and what nothing leads to any more; made to be scheduled."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser, DjangoHelpFormatter

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.client import dynamodb
from sessions_dynamo.dataplane.loop_thread import LoopThread
from sessions_dynamo.management import arguments
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import INTERRUPTED, both_tables, command_errors, location
from sessions_dynamo.management.pace import PacedProgress
from sessions_dynamo.operations import Driver
from sessions_dynamo.reading.index_pages import SHARDS
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.upkeep import expiry
from sessions_dynamo.upkeep.expiry import Tally, Task

SCHEDULES = r"""
On a schedule, with cron, every hour:

  17 * * * *  cd /srv/mcp-sessions && .venv/bin/python manage.py sessions_expire --seconds 900

with EventBridge Scheduler, which runs the site's container as an ECS task:

  aws scheduler create-schedule --name mcp-sessions-expire --schedule-expression 'rate(1 hour)' \
    --flexible-time-window Mode=OFF --target '{
    "Arn": "arn:aws:ecs:REGION:ACCOUNT:cluster/CLUSTER",
    "RoleArn": "arn:aws:iam::ACCOUNT:role/ROLE-THAT-MAY-RUN-THE-TASK",
    "EcsParameters": {
      "TaskDefinitionArn": "arn:aws:ecs:REGION:ACCOUNT:task-definition/TASK",
      "LaunchType": "FARGATE",
      "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["SUBNET"]}}
    },
    "Input": "{\"containerOverrides\":[{\"name\":\"SITE\",\"command\":[\"python\",\"manage.py\",\"sessions_expire\"]}]}"
  }'

and once a week, because it reads the whole sessions table, with --orphans.
"""


_ENDS = {"stopped": "reached its limit", "interrupted": "was interrupted", "failed": "failed"}


class HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the schedules, which are there to be copied."""


class Command(SessionsCommand):
    help = (
        "Deletes sessions past their ttl, or unused for long, with their events; events of sessions that are gone;\n"
        "and events over MAX_EVENTS_PER_SESSION. Safe beside live servers. A run that was stopped is run again."
    )
    requires_system_checks = (DYNAMODB,)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, epilog=SCHEDULES, formatter_class=HelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--idle", type=arguments.hours, metavar="HOURS", help="delete sessions that were not used for so long, too"
        )
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="also delete large values and regions' state that belong to no session; scans the sessions table",
        )
        parser.add_argument(
            "--limit", type=arguments.count, metavar="N", help="stop after so many sessions and large values"
        )
        parser.add_argument("--seconds", type=arguments.seconds, metavar="S", help="stop after so long")
        parser.add_argument("--dry-run", action="store_true", help="count what would be deleted, and delete nothing")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON document")
        arguments.add_where(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        self._json, self._dry_run = options["json"], options["dry_run"]
        task = Task(
            idle=options["idle"],
            orphans=options["orphans"],
            limit=options["limit"],
            seconds=options["seconds"],
            delete=not self._dry_run,
        )
        tally = Tally()
        began = False
        progress = PacedProgress("found" if self._dry_run else "deleted", unit="sessions")

        def show(so_far: Tally) -> None:
            progress.expect(so_far.expired)
            progress(so_far.seen + so_far.stray_sessions + so_far.trimmed_sessions)

        try:
            with command_errors(options["region"]), LoopThread(options["region"]) as drive:
                sessions, events = _stores(options, drive)
                self._say(f"DynamoDB: {location(events.dynamodb)}")
                self._say(f"Plan: {_plan(task, events)}")
                began = True
                expiry.maintain(sessions, events, task, tally=tally, progress=show)
        except KeyboardInterrupt:
            progress.clear()
            self._report(tally, "interrupted")
            sys.exit(INTERRUPTED)
        except Exception:
            # What was deleted is told whatever ended the run.
            progress.clear()
            if began:
                self._report(tally, "failed")
            raise
        progress.clear()
        self._report(tally, "complete" if tally.is_complete else "stopped")

    def _report(self, tally: Tally, outcome: str) -> None:
        if self._json:
            document = {"outcome": outcome, "dry_run": self._dry_run, **asdict(tally), "left": tally.left}
            self.stdout.write(json.dumps(document, indent=2))
            return
        for line in _lines(tally, "would be deleted" if self._dry_run else "deleted"):
            self.stdout.write(line)
        if outcome == "complete":
            self.stdout.write("Nothing was deleted." if self._dry_run else "Nothing else is to be done.")
        else:
            left = f" About {tally.left:,} expired sessions are left." if tally.left else ""
            again = "" if outcome == "failed" else " Run it again: it finds what is left."
            self.stdout.write(f"The run {_ENDS[outcome]} after {tally.parts} of {tally.of_parts} parts.{left}{again}")

    def _say(self, line: str) -> None:
        if not self._json:
            self.stdout.write(line)


def _stores(options: dict[str, Any], drive: Driver) -> tuple[SessionList, EventStore]:
    """The service's stores, in the region and with the table names that were given."""
    client = dynamodb(options["region"])
    sessions, events = both_tables(options)
    store, event_store = SessionStore.from_settings(), EventStore.from_settings()
    return (
        SessionList(
            SessionStore(
                client,
                sessions.name,
                session_ttl=store.session_ttl,
                terminated_ttl=store.terminated_ttl,
                driver=drive,
            )
        ),
        EventStore(
            client,
            events.name,
            event_ttl=event_store.event_ttl,
            max_events=event_store.max_events,
            driver=drive,
        ),
    )


def _plan(task: Task, events: EventStore) -> str:
    """One sentence."""
    verb = "delete" if task.delete else "count"
    idle = "" if task.idle is None else f" or unused for {_hours(task.idle)}"
    parts = [
        f"{verb} sessions past their ttl{idle}",
        "events of sessions that are gone",
        f"events over {events.max_events:,} a session",
    ]
    if task.orphans:
        parts.append("what belongs to no session, by a scan of the sessions table")
    bounds = [] if task.limit is None else [f"at most {task.limit:,} sessions and large values"]
    bounds += [] if task.seconds is None else [f"for at most {task.seconds:g} s"]
    return "; ".join([", ".join(parts), *bounds])


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"


def _lines(tally: Tally, verb: str) -> Iterator[str]:
    yield f"sessions         {tally.sessions:>9,} {verb}, with {tally.session_items:,} items of events"
    yield f"gone sessions    {tally.stray_items:>9,} items of events {verb}, of {tally.stray_sessions:,} sessions"
    yield f"surplus events   {tally.surplus_events:>9,} {verb}, of {tally.trimmed_sessions:,} sessions"
    if tally.of_parts > len(SHARDS):
        yield f"large values     {tally.large_values:>9,} {verb}"
        yield f"regions' state   {tally.region_entries:>9,} {verb}"
