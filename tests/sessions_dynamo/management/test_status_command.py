from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import client
from sessions_dynamo.backups import daily, on_demand
from sessions_dynamo.management.commands import dynamodb_status
from sessions_dynamo.management.console import location
from sessions_dynamo.operations import run
from sessions_dynamo.store import batches
from sessions_dynamo.tables import describing, setup
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.upkeep import attention
from sessions_dynamo.upkeep.status import backup_ages
from sessions_dynamo.workers.roster import HOLDINGS, RosterOperations, WorkerItem
from tests.engines import DYNAMODB_LOCAL, MOTO, on_moto
from tests.sessions_dynamo.tables.test_setup import create_by_hand
from tests.sessions_dynamo.wire import answering, error, operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def status(*arguments: str) -> str:
    """Run the command and return what it prints, runs of spaces made one."""
    return re.sub(" +", " ", _run(*arguments))


def status_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run("--json", *arguments))
    return found


def _run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("dynamodb_status", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def measure(metric: str, value: float, **dimensions: str) -> None:
    """Put what DynamoDB itself would report."""
    datum = {
        "MetricName": metric,
        "Dimensions": [{"Name": name, "Value": text} for name, text in dimensions.items()],
        "Timestamp": datetime.now(UTC) - timedelta(minutes=5),
        "Value": value,
    }
    client.aws_client("cloudwatch").put_metric_data(Namespace="AWS/DynamoDB", MetricData=[datum])


def test_shows_both_tables_as_they_stand_and_names_what_the_engine_lacks(
    engine: tuple[str, str], dynamodb: DynamoDBClient, settings: Settings
) -> None:
    lines = [line.strip() for line in status().splitlines()]

    assert lines[0] == f"DynamoDB: region eu-west-1, endpoint {engine[1]}"
    for name in (settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE):
        assert f"{name}: ACTIVE, 0 items, 0 bytes" in lines
    assert lines.count("billing PAY_PER_REQUEST") == 2
    assert lines.count("stream NEW_AND_OLD_IMAGES") == 2
    assert lines.count("Time to Live ENABLED on ttl") == 2
    assert "keys session_id (S), event_id (S)" in lines
    assert any(line.startswith("index PrincipalIndex ACTIVE") for line in lines)
    if engine[0] == DYNAMODB_LOCAL:
        assert lines.count("point-in-time recovery not supported by this engine") == 2
        assert lines.count("tags not supported by this engine") == 2
        assert f"CloudWatch: The engine at {engine[1]} has no CloudWatch." in lines
        assert lines[-1] == "Nothing needs attention."
    else:
        assert lines.count("point-in-time recovery DISABLED") == 2
        assert "tags Environment=test, Application=mcp-sessions, Purpose=MCP session state" in lines


def test_writes_nothing(dynamodb: DynamoDBClient) -> None:
    with operations(dynamodb) as sent:
        status()

    assert sent
    assert writes(sent) == []


def test_json_has_the_tables_as_the_tool_describes_them(
    engine: tuple[str, str], dynamodb: DynamoDBClient, settings: Settings
) -> None:
    found = status_json()

    assert [table["name"] for table in found["tables"]] == [
        settings.DYNAMODB_SESSIONS_TABLE,
        settings.DYNAMODB_EVENTS_TABLE,
    ]
    assert found["tables"][1] == describing.describe(settings.DYNAMODB_EVENTS_TABLE).as_dict()
    assert found["missing"] == {}
    if engine[0] == DYNAMODB_LOCAL:
        assert "has no CloudWatch" in found["readings"]["unavailable"]
    else:
        readings = found["readings"]["tables"][settings.DYNAMODB_SESSIONS_TABLE]
        assert readings["consumed_reads"] is None
        assert readings["operations"]["GetItem"]["requests"] is None
    assert found["cost"]["is_complete"] is False
    assert found["cost"]["lines"]


def test_says_how_many_workers_are_alive_and_what_they_hold(dynamodb: DynamoDBClient, settings: Settings) -> None:
    assert "Workers: none has registered" in status().splitlines()
    assert status_json()["workers"] == {
        "alive": 0,
        "silent": 0,
        "unreadable": 0,
        "holds": dict.fromkeys(HOLDINGS, 0),
    }
    events, now = settings.DYNAMODB_EVENTS_TABLE, datetime.now(UTC)
    for worker_id, age, holds in (("a" * 12, 0, {"calls": 2}), ("b" * 12, 1, {"calls": 1, "streams": 1})):
        beat_at = now - timedelta(seconds=age)
        worker = WorkerItem(worker_id, 1, 15.0, 20.0, "web", 1, now, beat_at, holds)
        run(dynamodb, RosterOperations(events).keep(worker))
    silent = WorkerItem("c" * 12, 1, 15.0, 5.0, "web", 1, now, now - timedelta(minutes=11), {"calls": 9})
    run(dynamodb, RosterOperations(events).keep(silent))
    run(dynamodb, batches.put(events, [{"session_id": {"S": "#workers"}, "event_id": {"S": "odd"}}]))

    lines = [line.strip() for line in status().splitlines()]
    assert "Workers: 2 alive, 1 silent, 1 that cannot be read" in lines
    assert "they hold 1 stream of a call, 3 calls" in lines
    assert any(re.fullmatch(r"silent for 6\d\d s at least", line) for line in lines)
    found = status_json()["workers"]
    assert (found["alive"], found["silent"], found["unreadable"]) == (2, 1, 1)
    assert found["holds"] == dict.fromkeys(HOLDINGS, 0) | {"calls": 3, "streams": 1}


@on_moto
def test_says_why_the_workers_are_not_told(dynamodb: DynamoDBClient, settings: Settings) -> None:
    with answering(client.dynamodb(), "Query", error("AccessDeniedException", "no")):
        assert re.search(r"^Workers: .*(denie|denied|not allowed|permission)", status(), re.M | re.I)
        assert "unavailable" in status_json()["workers"]


@on_moto
class TestReadings:
    def test_shows_capacity_latency_throttles_and_a_cost_of_them(
        self, dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        sessions = settings.DYNAMODB_SESSIONS_TABLE
        measure("ConsumedReadCapacityUnits", 36_000, TableName=sessions)
        measure("ConsumedReadCapacityUnits", 3_600, TableName=sessions, GlobalSecondaryIndexName="LastActivityIndex")
        measure("WriteThrottleEvents", 7, TableName=sessions)
        measure("SuccessfulRequestLatency", 3.25, TableName=sessions, Operation="GetItem")
        measure("SystemErrors", 2, TableName=sessions, Operation="GetItem")

        printed = status()

        assert "reads consumed 39,600 units, 11.00 a second" in printed
        assert "writes consumed no datapoints" in printed
        assert "writes throttled 7 events" in printed
        assert "reads throttled no datapoints" in printed
        assert "GetItem 1 3.2 ms - no datapoints" in printed
        assert f"{sessions} reads $4.09 39,600 request units in 1 h" in printed
        assert f"{sessions} writes not counted no datapoints" in printed
        assert "Estimated monthly cost: at least $4.09, were this AWS in eu-west-1" in printed
        attention = printed.partition("Needs attention:")[2]
        assert f"{sessions}: 0 reads and 7 writes were throttled." in attention
        assert f"{sessions}: DynamoDB failed 2 requests (HTTP 500)." in attention

    def test_hours_lengthen_the_time_and_the_cost_follows(self, dynamodb: DynamoDBClient, settings: Settings) -> None:
        measure("ConsumedReadCapacityUnits", 100_000, TableName=settings.DYNAMODB_SESSIONS_TABLE)

        one, ten = status_json(), status_json("--hours", "10")

        assert (one["readings"]["hours"], ten["readings"]["hours"]) == (1, 10)
        assert one["cost"]["usd_a_month"] == pytest.approx(10 * ten["cost"]["usd_a_month"], abs=0.05)

    def test_backups_are_part_of_the_cost(self, dynamodb: DynamoDBClient) -> None:
        made = on_demand.create(client=dynamodb)

        bytes_ = sum(backup.size_bytes or 0 for backup in made)
        (line,) = [line for line in status_json()["cost"]["lines"] if line["item"] == "backups"]

        assert bytes_ > 0
        assert line["reading"] == f"{bytes_} bytes, price not known"

    def test_a_region_without_prices_says_so_and_goes_on(self, dynamodb: DynamoDBClient) -> None:
        other = client.dynamodb("ap-south-2")
        setup.ensure_tables(client=other)

        printed = status("--region", "ap-south-2")

        assert "Estimated monthly cost: No prices of ap-south-2 are known here" in printed
        assert "region ap-south-2" in printed.splitlines()[0]


class TestAttention:
    def test_names_what_setup_would_change(self, bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
        create_by_hand(bare_dynamodb, settings.DYNAMODB_SESSIONS_TABLE)
        setup.ensure_tables(named_tables()[1:])

        found = [text for text in status_json()["attention"] if text.startswith(settings.DYNAMODB_SESSIONS_TABLE)]

        for aspect in ("index LastActivityIndex", "index CreatedAtIndex", "index PrincipalIndex", "stream", "ttl"):
            (text,) = [text for text in found if f": {aspect} is not as declared" in text]
            assert "'manage.py dynamodb_setup'" in text

    @on_moto
    def test_recovery_that_is_off_has_its_command(self, dynamodb: DynamoDBClient, settings: Settings) -> None:
        sessions = settings.DYNAMODB_SESSIONS_TABLE
        dynamodb.update_continuous_backups(
            TableName=sessions, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )

        found = status_json()["attention"]

        text = "point-in-time recovery is off. Run 'manage.py dynamodb_setup --pitr'."
        assert f"{settings.DYNAMODB_EVENTS_TABLE}: {text}" in found
        assert f"{sessions}: {text}" not in found

    def test_a_table_with_another_key_is_shown_and_explained(
        self, bare_dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        create_by_hand(bare_dynamodb, settings.DYNAMODB_EVENTS_TABLE)
        setup.ensure_tables(named_tables()[:1])

        printed = status()

        assert f"{settings.DYNAMODB_EVENTS_TABLE}: ACTIVE" in printed
        assert "but this service needs the key session_id (S), event_id (S)" in printed


class TestFailures:
    def test_a_missing_table_is_an_error_after_the_other_was_shown(
        self, dynamodb: DynamoDBClient, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dynamodb.delete_table(TableName=settings.DYNAMODB_EVENTS_TABLE)

        with pytest.raises(CommandError, match=f"^{settings.DYNAMODB_EVENTS_TABLE} does not exist") as raised:
            call_command("dynamodb_status", no_color=True)

        assert raised.value.returncode == 1
        printed = capsys.readouterr().out
        assert f"{settings.DYNAMODB_SESSIONS_TABLE}: ACTIVE" in printed
        assert f"{settings.DYNAMODB_EVENTS_TABLE}: {settings.DYNAMODB_EVENTS_TABLE} does not exist" in printed

    def test_two_missing_tables_are_both_named_with_the_command_and_where_they_were_looked_for(
        self, bare_dynamodb: DynamoDBClient, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        both = f"{settings.DYNAMODB_SESSIONS_TABLE} and {settings.DYNAMODB_EVENTS_TABLE} do not exist"

        with pytest.raises(CommandError, match=f"{both}.*dynamodb_setup"):
            call_command("dynamodb_status", no_color=True)

        assert capsys.readouterr().out == f"DynamoDB: {location(bare_dynamodb)}\n"

    def test_json_names_the_missing_before_the_error(
        self, bare_dynamodb: DynamoDBClient, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(CommandError):
            call_command("dynamodb_status", "--json")

        found = json.loads(capsys.readouterr().out)
        assert list(found["missing"]) == [settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE]
        assert found["tables"] == []

    def test_a_dynamodb_that_does_not_answer_is_an_error(self) -> None:
        client.aws_client.cache_clear()  # tests/settings.py points every service where nothing listens.

        with pytest.raises(CommandError, match="Cannot reach"):
            status()

    @on_moto
    def test_a_missing_permission_costs_its_part_alone(
        self, engine: tuple[str, str], dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        assert engine[0] == MOTO
        denied = error("AccessDeniedException", "User is not authorized to perform: cloudwatch:GetMetricData")
        quick = client.aws_client("cloudwatch", None, quick=True)

        with answering(quick, "GetMetricData", denied):
            printed = status()

        assert "CloudWatch: Access denied: the IAM action cloudwatch:GetMetricData is needed" in printed
        assert f"{settings.DYNAMODB_SESSIONS_TABLE} reads not counted no readings" in printed

    def test_ctrl_c_ends_without_a_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(dynamodb_status, "status", interrupt)

        with pytest.raises(CommandError, match="Interrupted") as ended:
            status()

        assert ended.value.returncode == 130

    @pytest.mark.parametrize("hours", ["0", "-1", "nan", "2161", "soon"])
    def test_hours_that_cannot_be_read_are_refused(self, hours: str) -> None:
        with pytest.raises(CommandError, match="not a number of hours above 0 and at most 2160"):
            status("--hours", hours)


# --- The metric of a schedule ---------------------------------------------------------------------------------


class TestBackupAge:
    @on_moto
    def test_a_table_without_a_backup_is_as_old_as_itself_and_a_backup_makes_it_young(
        self, dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        sessions, events = (table.name for table in named_tables())
        created = dynamodb.describe_table(TableName=sessions)["Table"]["CreationDateTime"]
        in_nine_days = datetime.now(UTC) + timedelta(days=9)

        ages, missing = backup_ages(named_tables(), now=in_nine_days)

        assert missing == {}
        assert ages[sessions] == (in_nine_days - created).total_seconds()
        assert ages[events] > attention.BACKUP_AGE.total_seconds()

        (backup, _) = on_demand.create()
        ages, _ = backup_ages(named_tables(), now=in_nine_days)

        assert ages[sessions] == (in_nine_days - backup.created_at).total_seconds()

    @on_moto
    def test_a_backup_of_the_schedule_counts(self, dynamodb: DynamoDBClient) -> None:
        in_nine_days = datetime.now(UTC) + timedelta(days=9)
        made = daily.make(named_tables(), datetime.now(UTC), client=dynamodb)

        ages, _ = backup_ages(named_tables(), now=in_nine_days)

        assert ages == {backup.table: (in_nine_days - backup.created_at).total_seconds() for backup in made}

    @on_moto
    def test_a_backup_of_a_former_table_of_the_name_does_not_count(
        self, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (sessions, _) = named_tables()
        (backup, _) = on_demand.create()
        former = replace(backup, created_at=backup.created_at - timedelta(days=30))
        monkeypatch.setattr(on_demand, "list_backups", lambda *_, **__: iter([former]))

        ages, _ = backup_ages([sessions])

        assert ages[sessions.name] < timedelta(days=1).total_seconds()

    @on_moto
    def test_prints_one_line_of_the_format_for_each_table_and_nothing_else(
        self, dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        page = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
        assert "\npython manage.py dynamodb_status --emf\n" in page.read_text()

        documents = [json.loads(line) for line in _run("--emf").splitlines()]

        assert [document["Table"] for document in documents] == [table.name for table in named_tables()]
        for document in documents:
            (directive,) = document["_aws"]["CloudWatchMetrics"]
            assert directive == {
                "Namespace": "MCP/Sessions",
                "Dimensions": [["Environment", "Table"]],
                "Metrics": [{"Name": "BackupAge", "Unit": "Seconds"}],
            }
            assert (document["Environment"], document["BackupAge"] >= 0) == ("test", True)

    @on_moto
    def test_a_table_that_is_missing_has_no_line_and_the_command_says_so(
        self, dynamodb: DynamoDBClient, settings: Settings
    ) -> None:
        out = io.StringIO()
        settings.DYNAMODB_EVENTS_TABLE = "no-such-table"

        with pytest.raises(CommandError, match="no-such-table does not exist"):
            call_command("dynamodb_status", "--emf", stdout=out)

        assert [json.loads(line)["Table"] for line in out.getvalue().splitlines()] == [settings.DYNAMODB_SESSIONS_TABLE]

    def test_is_another_form_than_json(self) -> None:
        with pytest.raises(CommandError, match="not allowed with argument"):
            call_command("dynamodb_status", "--emf", "--json")
