"""The service's own metrics: what is counted, and the two ways that it leaves the process."""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished
from pytest_django import Settings

from sessions_dynamo import metrics
from sessions_dynamo.metrics import emf, put, reporter
from sessions_dynamo.metrics.checks import check_metrics
from sessions_dynamo.metrics.samples import MAX_TOOLS, UNITS, Metric, Samples, reading
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.upkeep.cloudwatch import service_series
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import Clock

PATIENCE = 30
MINUTE = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Samples:
    """What is counted from here on; nothing is sent."""
    settings.METRICS = "emf"
    fresh = reporter.Reporter()
    monkeypatch.setattr(fresh, "start", lambda: None)
    monkeypatch.setattr(reporter, "_reporter", fresh)
    return fresh.samples


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch) -> reporter.Reporter:
    """A reporter of this test's own, which sends as ``METRICS`` says."""
    fresh = reporter.Reporter()
    monkeypatch.setattr(reporter, "_reporter", fresh)
    return fresh


def counts(kept: Samples) -> dict[tuple[str, str], float]:
    """The sums so far, by tool and name."""
    found: Counter[tuple[str, str]] = Counter()
    for metric in kept.take():
        found[metric.tool, metric.name] += int(sum(metric.values)) if metric.unit == "Count" else 1
    return dict(found)


class TestCounting:
    def test_off_keeps_nothing_and_starts_no_thread(self, sending: reporter.Reporter, settings: Settings) -> None:
        assert settings.METRICS == "off"

        metrics.count("ToolCalls", tool="echo")
        metrics.timing("RequestLatency", 3)

        assert sending.samples.take() == []
        assert sending._thread is None

    def test_counts_are_summed_and_times_kept_with_how_often_each_occurred(self, kept: Samples) -> None:
        metrics.count("EventsStored", 3)
        metrics.count("EventsStored")
        for ms in (1234, 1249, 0.0567, 0):
            metrics.timing("RequestLatency", ms)

        latency, stored = sorted(kept.take(), key=lambda metric: metric.unit, reverse=True)

        assert (stored.name, stored.unit, stored.values) == ("EventsStored", "Count", {4: 1})
        assert (latency.name, latency.unit) == ("RequestLatency", "Milliseconds")
        assert latency.values == {1200: 2, 0.057: 1, 0: 1}
        assert kept.take() == []

    def test_a_rounded_time_is_within_5_percent(self, kept: Samples) -> None:
        for ms in range(1, 5000, 7):
            metrics.timing("RequestLatency", ms / 3)
            (metric,) = kept.take()
            (value,) = metric.values
            assert value == pytest.approx(ms / 3, rel=0.05)

    def test_a_tool_counts_for_the_service_too(self, kept: Samples) -> None:
        metrics.count("ToolCalls", tool="echo")
        metrics.count("ToolCalls", tool="sum")

        assert counts(kept) == {("", "ToolCalls"): 2, ("echo", "ToolCalls"): 1, ("sum", "ToolCalls"): 1}

    @pytest.mark.parametrize("name", ["", " leading", "Grüße", "line\nfeed", "x" * 256])
    def test_a_name_that_cloudwatch_refuses_counts_for_the_service_alone(self, kept: Samples, name: str) -> None:
        metrics.count("ToolCalls", tool=name)

        assert counts(kept) == {("", "ToolCalls"): 1}

    def test_the_number_of_tools_is_bounded(self, kept: Samples) -> None:
        for number in range(MAX_TOOLS + 5):
            metrics.count("ToolCalls", tool=f"tool{number}")

        found = counts(kept)

        assert found["", "ToolCalls"] == MAX_TOOLS + 5
        assert len(found) == MAX_TOOLS + 1

    def test_minutes_are_kept_apart(self, kept: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [MINUTE.timestamp() + 59]
        monkeypatch.setattr("sessions_dynamo.metrics.samples.time.time", lambda: now[0])

        metrics.count("ToolCalls")
        now[0] += 2
        metrics.count("ToolCalls", 2)

        assert [(metric.minute.minute, metric.values) for metric in kept.take()] == [(0, {1: 1}), (1, {2: 1})]


class TestWhatIsCounted:
    def test_sessions_created_terminated_and_expired(
        self, session_store: SessionStore, kept: Samples, clock: Clock
    ) -> None:
        ended, left = session_store.create(), session_store.create()
        session_store.terminate(ended.session_id)
        clock.advance(hours=25)
        assert session_store.delete_if_inactive(left.session_id, now=clock.now)
        assert not session_store.delete_if_inactive(left.session_id, now=clock.now)

        assert counts(kept) == {("", "SessionCreated"): 2, ("", "SessionTerminated"): 1, ("", "SessionExpired"): 1}

    def test_events_stored(self, event_store: EventStore, kept: Samples) -> None:
        event_store.store("session", "notifications/message", "{}")
        event_store.append([])

        assert counts(kept) == {("", "EventsStored"): 1}


def documents(*kept: Metric) -> list[dict[str, Any]]:
    """The documents of metrics, each held against the format's specification."""
    found = [json.loads(line) for line in emf.lines(kept)]
    for document in found:
        metadata = document["_aws"]
        assert isinstance(metadata["Timestamp"], int)
        (directive,) = metadata["CloudWatchMetrics"]
        assert directive["Namespace"] == "MCP/Sessions"
        assert 1 <= len(directive["Metrics"]) <= 100
        (dimensions,) = directive["Dimensions"]
        assert len(dimensions) <= 30
        assert all(isinstance(document[name], str) and document[name] for name in dimensions)
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            assert metric["Unit"] == UNITS[metric["Name"]]
            assert isinstance(value, int | float) or 1 <= len(value) <= 100
        named = {"_aws", *dimensions, *(metric["Name"] for metric in directive["Metrics"])}
        assert document.keys() == named
    return found


class TestGauges:
    @pytest.fixture
    def sent(
        self, sending: reporter.Reporter, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> queue.Queue[list[Metric]]:
        """What leaves, with minutes of a hundredth of a second."""
        sent: queue.Queue[list[Metric]] = queue.Queue()
        settings.METRICS = "emf"
        monkeypatch.setattr(reporter, "INTERVAL_SECONDS", 0.01)
        monkeypatch.setattr(reporter, "SENDERS", {"emf": sent.put})
        return sent

    def test_says_every_minute_what_is_so_0_too(self, sent: queue.Queue[list[Metric]]) -> None:
        opened = [0, 0]
        with metrics.gauge("OpenStreams", lambda: opened[0]), metrics.gauge("OpenStreams", lambda: opened[1]):
            (first,) = sent.get(timeout=PATIENCE)
            opened[:] = 3, 4
            while (later := sent.get(timeout=PATIENCE)[0]).values == {0: 1}:
                pass

        assert (first.name, first.unit, first.tool, first.values) == ("OpenStreams", "Count", "", {0: 1})
        # Between the two that were set one after the other a minute may have fallen.
        while later.values != {7: 1}:
            (later,) = sent.get(timeout=PATIENCE)

    def test_ends_with_what_it_says_it_of(self, sent: queue.Queue[list[Metric]], sending: reporter.Reporter) -> None:
        with metrics.gauge("OpenStreams", lambda: 1):
            sent.get(timeout=PATIENCE)

        assert sending.gauges == {}
        metrics.flush()
        sent.queue.clear()
        metrics.count("ToolCalls")
        assert [metric.name for metric in sent.get(timeout=PATIENCE)] == ["ToolCalls"]

    def test_a_flush_has_no_reading_of_its_own(
        self, sent: queue.Queue[list[Metric]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reporter, "INTERVAL_SECONDS", 600)
        with metrics.gauge("OpenStreams", lambda: 1):
            metrics.count("ToolCalls")
            metrics.flush()

        assert [metric.name for metric in sent.get(timeout=PATIENCE)] == ["ToolCalls"]

    def test_one_that_fails_is_logged_once_and_the_others_are_sent(
        self, sent: queue.Queue[list[Metric]], sending: reporter.Reporter, caplog: pytest.LogCaptureFixture
    ) -> None:
        with metrics.gauge("LeaseExpired", lambda: 1 // 0), metrics.gauge("OpenStreams", lambda: 2):
            for _ in range(3):
                while [(metric.name, metric.values) for metric in sent.get(timeout=PATIENCE)] != [
                    ("OpenStreams", {2: 1})
                ]:
                    pass

        (record,) = caplog.records
        assert record.getMessage() == "the metric LeaseExpired could not be read"
        assert "ZeroDivisionError" in str(record.exc_text)

    def test_off_asks_nobody(self, sending: reporter.Reporter) -> None:
        with metrics.gauge("OpenStreams", lambda: 1 // 0):
            assert sending._thread is None


class TestEmbeddedMetricFormat:
    def test_a_table_has_a_document_of_its_own(self) -> None:
        found = documents(reading("BackupAge", 86400.5, table="one"), reading("BackupAge", 7, table="two"))

        assert [(document["Table"], document["BackupAge"]) for document in found] == [("one", 86400.5), ("two", 7)]
        assert found[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Environment", "Table"]]

    def test_one_document_has_what_was_counted_in_one_minute(self, settings: Settings) -> None:
        settings.DYNAMODB_SESSIONS_TABLE = "mcp-sessions"

        found = documents(
            Metric("RequestLatency", "Milliseconds", MINUTE, "", {1.5: 2, 9: 1}),
            Metric("SessionCreated", "Count", MINUTE, "", {3: 1}),
        )

        assert found == [
            {
                "_aws": {
                    "Timestamp": 1795316400000,
                    "CloudWatchMetrics": [
                        {
                            "Namespace": "MCP/Sessions",
                            "Dimensions": [["Environment", "Table"]],
                            "Metrics": [
                                {"Name": "RequestLatency", "Unit": "Milliseconds"},
                                {"Name": "SessionCreated", "Unit": "Count"},
                            ],
                        }
                    ],
                },
                "Environment": "test",
                "Table": "mcp-sessions",
                "RequestLatency": [1.5, 1.5, 9],
                "SessionCreated": 3,
            }
        ]

    def test_a_tool_has_a_document_and_a_dimension_of_its_own(self) -> None:
        service, tool = documents(
            Metric("ToolCalls", "Count", MINUTE, "", {2: 1}), Metric("ToolCalls", "Count", MINUTE, "echo", {1: 1})
        )

        assert service["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Environment", "Table"]]
        assert tool["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Environment", "Table", "Tool"]]
        assert (service["ToolCalls"], tool["ToolCalls"], tool["Tool"]) == (2, 1, "echo")

    def test_more_than_100_times_take_more_documents_and_counts_are_in_one(self) -> None:
        found = documents(
            Metric("RequestLatency", "Milliseconds", MINUTE, "", {1: 150, 2: 90}),
            Metric("ToolCalls", "Count", MINUTE, "", {240: 1}),
        )

        assert [len(document["RequestLatency"]) for document in found] == [100, 100, 40]
        assert Counter(value for document in found for value in document["RequestLatency"]) == {1: 150, 2: 90}
        assert [document.get("ToolCalls") for document in found] == [240, None, None]

    def test_an_empty_environment_is_no_dimension(self, settings: Settings) -> None:
        settings.ENVIRONMENT = ""

        (document,) = documents(Metric("ToolCalls", "Count", MINUTE, "", {1: 1}))

        assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Table"]]

    def test_a_flush_writes_lines_to_standard_output(
        self, sending: reporter.Reporter, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings.METRICS = "emf"

        metrics.count("ToolCalls", tool="echo")
        metrics.flush()
        metrics.flush()

        lines = capsys.readouterr().out.splitlines()
        assert [json.loads(line).get("Tool") for line in lines] == [None, "echo"]


@pytest.fixture
def cloudwatch(engine: tuple[str, str], monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """The engine's CloudWatch, and a table's name that no other test measures."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine[1])
    settings.METRICS = "put"
    settings.DYNAMODB_SESSIONS_TABLE = f"sessions-{os.urandom(4).hex()}"


class TestPutMetricData:
    @on_moto
    def test_what_was_counted_can_be_read_again(self, cloudwatch: None, sending: reporter.Reporter) -> None:
        for ms in range(1, 301):
            metrics.timing("RequestLatency", ms / 7, tool="echo")
        metrics.count("ToolCalls", 300, tool="echo")
        metrics.flush()

        found = service_series(tools=["echo"])

        assert found.service.counts["ToolCalls"].total == 300
        assert found.service.counts["SessionCreated"].total is None
        assert found.tools["echo"].counts["ToolCalls"].total == 300
        assert found.service.latency.samples.total == 300
        assert found.service.latency.mean == pytest.approx(150.5 / 7, rel=0.05)

    def test_a_datum_has_at_most_150_values_and_a_request_a_bounded_number_of_data(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests: list[dict[str, Any]] = []

        class Client:
            def put_metric_data(self, **request: Any) -> None:
                requests.append(request)

        monkeypatch.setattr(put, "aws_client", lambda service: Client())
        values = {float(value): value for value in range(1, 402)}

        put.send([Metric("RequestLatency", "Milliseconds", MINUTE, f"tool{n}", values) for n in range(100)])

        data = [datum for request in requests for datum in request["MetricData"]]
        assert [len(request["MetricData"]) for request in requests] == [250, 50]
        assert max(len(datum["Values"]) for datum in data) == 150
        assert all(datum["Timestamp"] == MINUTE for datum in data)
        one = [datum for datum in data if datum["Dimensions"][-1]["Value"] == "tool7"]
        assert {v: n for datum in one for v, n in zip(datum["Values"], datum["Counts"], strict=True)} == values

    @on_dynamodb_local
    def test_what_cannot_be_sent_is_dropped_and_logged_once_in_a_while(
        self, cloudwatch: None, sending: reporter.Reporter, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                metrics.count("ToolCalls", tool="echo")
                metrics.flush()

        (record,) = caplog.records
        assert record.getMessage().startswith("2 metrics were dropped: PutMetricData on CloudWatch failed")
        assert sending.samples.take() == []

    @on_moto
    def test_after_a_failure_the_next_minute_is_sent(
        self, cloudwatch: None, sending: reporter.Reporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(put, "aws_client", lambda service: 1 / 0)
            metrics.count("ToolCalls", 5)
            metrics.flush()
        metrics.count("ToolCalls", 2)
        metrics.flush()

        assert service_series().service.counts["ToolCalls"].total == 2


class TestProcesses:
    def test_each_process_sends_its_own_at_its_end(self) -> None:
        """A parent that counted, then forked, as a gunicorn that preloads would."""
        script = """
import os, sys, django
django.setup()
from django.conf import settings
settings.METRICS = "emf"
from sessions_dynamo import metrics
metrics.count("SessionCreated", 5)
metrics.timing("RequestLatency", 2)
child = os.fork()
metrics.count("SessionCreated", 1 if child else 2)
if child:
    os.waitpid(child, 0)
sys.exit()
"""
        env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        root = Path(__file__).parents[3]

        ended = subprocess.run([sys.executable, "-c", script], cwd=root, env=env, capture_output=True, text=True)

        assert (ended.returncode, ended.stderr) == (0, "")
        found = [json.loads(line) for line in ended.stdout.splitlines()]
        assert sorted(document["SessionCreated"] for document in found) == [2, 6]
        assert [document["RequestLatency"] for document in found if "RequestLatency" in document] == [[2.0]]

    @pytest.mark.django_db  # Django itself closes database connections then.
    def test_lambda_writes_after_each_request(
        self,
        sending: reporter.Reporter,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        settings.METRICS = "emf"
        metrics.count("ToolCalls")
        request_finished.send(sender=None)
        assert capsys.readouterr().out == ""

        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "sessions")
        request_finished.send(sender=None)

        assert json.loads(capsys.readouterr().out)["ToolCalls"] == 1


class TestCheck:
    @pytest.mark.parametrize("value", ["off", "emf", "put"])
    def test_what_is_known_passes(self, settings: Settings, value: str) -> None:
        settings.METRICS = value

        assert check_metrics() == []

    @pytest.mark.parametrize("value", ["", "on", "EMF", "statsd"])
    def test_anything_else_is_refused_with_what_to_set(self, settings: Settings, value: str) -> None:
        settings.METRICS = value

        (found,) = check_metrics()

        assert found.id == "sessions_dynamo.E010"
        assert "METRICS=emf" in str(found.hint)

    def test_put_on_lambda_is_a_warning(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.METRICS = "put"
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "sessions")

        assert [found.id for found in check_metrics()] == ["sessions_dynamo.W010"]
