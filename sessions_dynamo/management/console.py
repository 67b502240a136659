"""What the commands share: where they work, their lines, and storage errors as ``CommandError``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import botocore.session
from botocore.exceptions import ConnectionError, HTTPClientError, InvalidRegionError
from django.conf import settings
from django.core.management.base import CommandError

from sessions_dynamo.client import aws_client, embedded_endpoint
from sessions_dynamo.descriptions import is_aws
from sessions_dynamo.errors import AccessDenied, StorageError, StorageUnavailable, boto_errors
from sessions_dynamo.steps import Outcome, Step

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper
    from django.core.management.color import Style
    from mypy_boto3_dynamodb import DynamoDBClient


@contextmanager
def command_errors(region: str | None = None) -> Iterator[None]:
    """Turn this app's errors into ``CommandError``; ``region`` is the one that the command was given, if any."""
    try:
        yield
    except StorageError as exc:
        raise CommandError(_explained(exc, region or settings.AWS_REGION)) from exc


def _explained(exc: StorageError, region: str) -> str:
    if not isinstance(exc.__cause__, (ConnectionError, HTTPClientError, InvalidRegionError)):
        return str(exc)
    if settings.DYNAMODB_EMBEDDED:
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


def location(client: DynamoDBClient) -> str:
    """Where a command works: the region, and the account on AWS or else the endpoint."""
    region, endpoint = client.meta.region_name, client.meta.endpoint_url
    if settings.DYNAMODB_EMBEDDED:
        return f"region {region}, embedded DynamoDB at {endpoint}, in memory only"
    if not is_aws(client):
        return f"region {region}, endpoint {endpoint}"
    return f"region {region}, account {_account(region)}"


def _account(region: str) -> str:
    try:
        with boto_errors("AWS STS"):
            return str(aws_client("sts", region).get_caller_identity()["Account"])
    except AccessDenied:
        return "unknown (STS refused)"
    except StorageUnavailable as exc:
        # A network that has only DynamoDB's VPC endpoint does not reach STS.
        if isinstance(exc.__cause__, (ConnectionError, HTTPClientError)):
            return "unknown (STS cannot be reached)"
        raise


def step_line(step: Step, style: Style, width: int) -> str:
    """One aspect of one table: what became of it, and why; ``width`` is the longest table name's."""
    outcome = f"{step.outcome:11}"
    if step.outcome in (Outcome.UNSUPPORTED, Outcome.PENDING):
        outcome = style.WARNING(outcome)
    elif step.outcome is not Outcome.UNCHANGED:
        outcome = style.SUCCESS(outcome)
    return f"{step.table:{width}}  {step.aspect:24} {outcome} {step.detail}".rstrip()


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
