"""What the commands share: where they work, their lines, and storage errors as ``CommandError``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.exceptions import ConnectionError, HTTPClientError, InvalidRegionError
from django.core.management.base import CommandError

from sessions_dynamo.client import aws_client, embedded_endpoint, is_aws
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import AccessDenied, StorageError, StorageUnavailable, boto_errors
from sessions_dynamo.management.progress import columns
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.names import NamedTable, is_table_name, named_tables
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper
    from django.core.management.color import Style
    from mypy_boto3_dynamodb import DynamoDBClient

INTERRUPTED: Final = 130
"""What a shell reports of a program that Ctrl-C ended."""


@contextmanager
def command_errors(region: str | None = None) -> Iterator[None]:
    """Turn this app's errors into ``CommandError``; ``region`` is the one that the command was given, if any."""
    try:
        yield
    except StorageError as exc:
        raise CommandError(_explained(exc, region or conf.AWS_REGION)) from exc


def _explained(exc: StorageError, region: str) -> str:
    if not isinstance(exc.__cause__, (ConnectionError, HTTPClientError, InvalidRegionError)):
        return str(exc)
    if conf.DYNAMODB_EMBEDDED:
        return (
            f"The embedded DynamoDB does not answer at {embedded_endpoint()}. Start 'manage.py runserver' in another"
            " terminal, or set DYNAMODB_EMBEDDED=false and AWS_REGION to work on AWS."
        )
    known = _regions()
    if not region or region in known:
        return str(exc)
    close = difflib.get_close_matches(region, known, n=1)
    meant = f"did you mean {close[0]}?" if close else "set AWS_REGION, for example AWS_REGION=eu-west-1."
    return f"{exc}\n{region} is no AWS region that DynamoDB is known to run in: {meant}"


def _regions() -> list[str]:
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    return [region for partition in partitions for region in session.get_available_regions("dynamodb", partition)]


def both_tables(options: Mapping[str, Any]) -> tuple[NamedTable, NamedTable]:
    """The tables that ``--sessions-table`` and ``--events-table`` name, else the settings.

    Raises ``CommandError`` for names that no two tables can have, before AWS is asked.
    """
    both = named_tables(options["sessions_table"], options["events_table"])
    for table in both:
        if not is_table_name(table.name):
            raise CommandError(f"{table.name!r} is no table name: 3 to 255 letters, digits, and any of _ . - make one.")
    if both[0].name == both[1].name:
        raise CommandError(
            f"Sessions and events cannot share the table {both[0].name}, for their keys differ: give --sessions-table"
            " and --events-table different names."
        )
    return both


@contextmanager
def interruptible(message: str = "Interrupted. Nothing was changed.") -> Iterator[None]:
    """Turn Ctrl-C into ``CommandError`` with the status that a shell reports of it."""
    try:
        yield
    except KeyboardInterrupt:
        raise interrupted(message) from None


def interrupted(message: str) -> CommandError:
    """What Ctrl-C ends a command with; the terminal's ``^C`` keeps a line of its own."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return CommandError(message, returncode=INTERRUPTED)


def location(client: DynamoDBClient) -> str:
    """Where a command works: the region, and the account on AWS or else the endpoint."""
    region, endpoint = client.meta.region_name, client.meta.endpoint_url
    if conf.DYNAMODB_EMBEDDED:
        return f"region {region}, embedded DynamoDB at {endpoint}"
    if not is_aws(client):
        return f"region {region}, endpoint {endpoint}"
    return f"region {region}, account {_account(region)}"


def _account(region: str) -> str:
    try:
        with boto_errors("AWS STS"):
            # Once: it only tells where, and a network that does not reach it is told soon.
            return str(aws_client("sts", region, quick=True).get_caller_identity()["Account"])
    except AccessDenied:
        return "unknown (STS refused)"
    except StorageUnavailable as exc:
        # A network that has only DynamoDB's VPC endpoint does not reach STS.
        if isinstance(exc.__cause__, (ConnectionError, HTTPClientError)):
            return "unknown (STS cannot be reached)"
        raise


def step_line(step: Step, style: Style, width: int) -> str:
    """One aspect of one table: what became of it, and why; ``width`` is the longest table name's."""
    outcome = f"{step.outcome:13}"
    if step.outcome in (Outcome.CANNOT_CHANGE, Outcome.DENIED):
        outcome = style.ERROR(outcome)
    elif step.outcome in (Outcome.UNSUPPORTED, Outcome.PENDING):
        outcome = style.WARNING(outcome)
    elif step.outcome is not Outcome.UNCHANGED:
        outcome = style.SUCCESS(outcome)
    return f"{step.table:{width}}  {step.aspect:24} {outcome} {step.detail}".rstrip()


def standing(live: TableDescription) -> str:
    """What a table is now, in one line: only what was read."""
    capacity = f" {live.read_capacity} read, {live.write_capacity} write" if live.read_capacity else ""
    parts = [
        live.status,
        f"{live.billing_mode}{capacity}",
        f"indexes {len(live.indexes)}",
        f"stream {live.stream.view_type}" if live.stream.enabled else "stream off",
    ]
    if live.time_to_live:
        on = f" on {live.time_to_live.attribute}" if live.time_to_live.attribute else ""
        parts.append(f"TTL {live.time_to_live.status}{on}")
    if live.point_in_time_recovery:
        parts.append(f"PITR {live.point_in_time_recovery.status}")
    if live.deletion_protection is not None:
        parts.append(f"deletion protection {'on' if live.deletion_protection else 'off'}")
    if live.encryption:
        parts.append(f"encryption {live.encryption.type}")
    if live.replicas:
        parts.append("replicas " + ", ".join(f"{replica.region} {replica.status}" for replica in live.replicas))
    return ", ".join(parts)


class Waiting:
    """A ``Progress`` for a command: one line that changes on a terminal, else a line every half minute."""

    QUIET_SECONDS: Final = 2.0
    """Shorter waits are not worth a line."""
    LOG_SECONDS: Final = 30.0

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._shown = 0
        self._last: tuple[str, float] = ("", 0.0)

    def __call__(self, what: str, elapsed: float) -> None:
        if elapsed < self.QUIET_SECONDS:
            return
        line = f"waiting for {what}, {elapsed:.0f} s"
        if self._out.isatty():
            line = line[: columns(self._out) - 1]
            self._out.write(f"\r{line:{self._shown}}", ending="")
            self._shown = len(line)
        elif self._last[0] != what or elapsed - self._last[1] >= self.LOG_SECONDS:
            self._out.write(line)
            self._last = (what, elapsed)
        self._out.flush()

    def clear(self) -> None:
        """Take the line away, before another is written."""
        if self._shown:
            self._out.write(f"\r{'':{self._shown}}\r", ending="")
            self._shown = 0
