"""What needs attention: found where it should be, with a remedy, and nothing found where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo.backups.descriptions import Backup
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.descriptions import PointInTimeRecovery, StreamDescription, TableDescription
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.plans import TablePlan
from sessions_dynamo.tables.steps import Outcome
from sessions_dynamo.upkeep.attention import Finding, Kind, findings
from sessions_dynamo.upkeep.readings import Capacity, Latency, Operation, Point, Series, TableReadings

NOW = datetime(2026, 5, 20, 3, 0, tzinfo=UTC)
SESSIONS = named_tables("mcp-sessions")[0]
LIVE = TableDescription(
    name="mcp-sessions",
    region="eu-west-1",
    status="ACTIVE",
    keys=SESSIONS.schema.keys,
    attributes=SESSIONS.schema.keys,
    billing_mode="PAY_PER_REQUEST",
    indexes=(),
    stream=StreamDescription(enabled=True),
    replicas=(),
    created_at=NOW - timedelta(days=30),
    point_in_time_recovery=PointInTimeRecovery("ENABLED"),
)


def planned(*changes: Change, live: TableDescription | None = LIVE) -> TablePlan:
    return TablePlan(SESSIONS, live, changes, Desired("test"))


def found(plan: TablePlan, **parts: Any) -> list[Finding]:
    return list(findings(plan, now=NOW, **parts))


def backup(days: float, *, type_: str = "USER", status: str = "AVAILABLE") -> Backup:
    return Backup("mcp-sessions", "some-name", "arn", status, type_, NOW - timedelta(days=days))


def series(*values: float) -> Series:
    return Series(tuple(Point(NOW, value) for value in values))


def readings(*, reads: Series = Series(), writes: Series = Series(), errors: Series = Series()) -> TableReadings:  # noqa: B008
    none = Series()
    operation = Operation("PutItem", Latency(none, none, None), none, errors)
    return TableReadings("mcp-sessions", Capacity(none, none, none, none, reads, writes), {}, (operation,), none)


class TestDrift:
    def test_a_table_as_declared_needs_nothing(self) -> None:
        changes = (Change("ttl", Outcome.UNCHANGED), Change("tags", Outcome.UNSUPPORTED))
        assert found(planned(*changes), readings=readings(), backups=[backup(1)]) == []

    @pytest.mark.parametrize(("aspect", "means"), [("ttl", "Time to Live is off"), ("stream", "The stream is off")])
    def test_what_is_off_says_what_that_means_and_how_it_is_mended(self, aspect: str, means: str) -> None:
        (finding,) = found(planned(Change(aspect, Outcome.CREATE, "detail")))
        assert finding.what == f"{aspect} is not as declared (detail)."
        assert means in finding.remedy
        assert finding.command == "manage.py dynamodb_setup"
        assert str(finding).endswith("Run 'manage.py dynamodb_setup'.")

    def test_another_stream_is_not_called_off(self) -> None:
        (finding,) = found(planned(Change("stream", Outcome.CHANGE)))
        assert (finding.kind, finding.remedy) == (Kind.DRIFT, "")

    def test_what_cannot_be_changed_or_read_keeps_its_reason(self) -> None:
        (finding,) = found(planned(Change("tags", Outcome.DENIED, "the IAM action is needed.")))
        assert str(finding) == "mcp-sessions: tags: the IAM action is needed."

    def test_a_missing_table_is_one_finding(self) -> None:
        changes = tuple(Change(aspect, Outcome.CREATE) for aspect in ("table", "ttl", "stream"))
        (finding,) = found(planned(*changes, live=None), backups=[])
        assert str(finding) == "mcp-sessions: the table does not exist. Run 'manage.py dynamodb_setup'."

    def test_what_aws_is_busy_with_is_said(self) -> None:
        (finding,) = found(planned(live=replace(LIVE, status="UPDATING")))
        assert (finding.kind, finding.what) == (Kind.UNSETTLED, "table UPDATING.")


class TestRecovery:
    OFF = replace(LIVE, point_in_time_recovery=PointInTimeRecovery("DISABLED"))

    def test_recovery_that_is_off_has_its_command(self) -> None:
        (finding,) = found(planned(live=self.OFF))
        assert finding.command == "manage.py dynamodb_setup --pitr"

    def test_recovery_that_is_declared_is_found_once(self) -> None:
        (finding,) = found(planned(Change("pitr", Outcome.CREATE, "on"), live=self.OFF))
        assert finding.kind is Kind.DRIFT

    def test_an_engine_without_recovery_lacks_nothing(self) -> None:
        assert found(planned(live=replace(LIVE, point_in_time_recovery=None))) == []


class TestBackups:
    @pytest.mark.parametrize(
        "kept",
        [
            pytest.param([backup(6.9), backup(40)], id="a backup of this week"),
            pytest.param([backup(2, type_="AWS_BACKUP")], id="one by AWS Backup"),
            pytest.param([backup(0, status="CREATING")], id="one that is being made"),
            pytest.param(None, id="backups that could not be listed"),
        ],
    )
    def test_none_is_missed(self, kept: list[Backup] | None) -> None:
        assert found(planned(), backups=kept) == []

    @pytest.mark.parametrize(
        ("kept", "what"),
        [
            ([], "there is no backup."),
            ([backup(9.5), backup(40)], "the newest backup is 9 days old."),
            ([backup(1, type_="SYSTEM")], "there is no backup."),
            ([backup(1, status="DELETED"), backup(8)], "the newest backup is 8 days old."),
        ],
    )
    def test_one_is_missed_after_seven_days(self, kept: list[Backup], what: str) -> None:
        (finding,) = found(planned(), backups=kept)
        assert (finding.kind, finding.what) == (Kind.BACKUP, what)
        assert finding.command == "manage.py dynamodb_backup create"

    def test_a_table_that_is_younger_needs_none_yet(self) -> None:
        assert found(planned(live=replace(LIVE, created_at=NOW - timedelta(days=6))), backups=[]) == []


class TestReadings:
    def test_throttles_and_errors_are_found_with_their_numbers(self) -> None:
        throttled, failed = found(planned(), readings=readings(writes=series(1200, 34), errors=series(2)))
        assert throttled.what == "0 reads and 1,234 writes were throttled."
        assert "hot key" in throttled.remedy
        assert failed.what == "DynamoDB failed 2 requests (HTTP 500)."

    def test_a_provisioned_table_needs_more_capacity(self) -> None:
        (finding,) = found(planned(live=replace(LIVE, billing_mode="PROVISIONED")), readings=readings(reads=series(1)))
        assert "dynamodb_setup --billing provisioned" in finding.remedy

    def test_no_datapoint_and_a_zero_are_nothing(self) -> None:
        assert found(planned(), readings=readings(reads=series(0))) == []
