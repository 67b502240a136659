"""What serving counts."""

from __future__ import annotations

from collections import Counter

import pytest
from pytest_django import Settings

from mcpsite.endpoint.streams.standalone import stream_id_of
from sessions_dynamo import schema
from sessions_dynamo.metrics import reporter
from sessions_dynamo.metrics.samples import Samples
from sessions_dynamo.store.sessions import default_store
from tests.mcpsite.peers import LegacyPeer, ModernPeer


@pytest.fixture
def kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Samples:
    """What is counted from here on; nothing is sent."""
    settings.METRICS = "emf"
    fresh = reporter.Reporter()
    monkeypatch.setattr(fresh, "start", lambda: None)
    monkeypatch.setattr(reporter, "_reporter", fresh)
    return fresh.samples


def counts(kept: Samples) -> dict[tuple[str, str], float]:
    """How often each was counted, or each time measured, by tool and name."""
    found: Counter[tuple[str, str]] = Counter()
    for metric in kept.take():
        occurred = sum(metric.values) if metric.unit == "Count" else sum(metric.values.values())
        found[metric.tool, metric.name] += int(occurred)
    return dict(found)


def test_a_call_counts_for_the_service_and_for_its_tool(peer: LegacyPeer | ModernPeer, kept: Samples) -> None:
    kept.take()
    peer.call("store_app_state", key="a", data=1)
    peer.call("store_app_state")  # Its arguments are missing.
    peer.request("tools/list")

    found = counts(kept)

    found.pop(("", "SessionCreated"), None)  # A client without sessions begins one here.
    assert found == {
        ("", "RequestLatency"): 3,
        ("", "ToolCalls"): 2,
        ("", "ToolErrors"): 1,
        ("store_app_state", "RequestLatency"): 2,
        ("store_app_state", "ToolCalls"): 2,
        ("store_app_state", "ToolErrors"): 1,
    }


def test_a_name_that_no_tool_has_makes_no_metric(peer: LegacyPeer | ModernPeer, kept: Samples) -> None:
    kept.take()
    for name in ("nope", "Grüße", "x" * 300):
        peer.call(name)

    assert counts(kept) == {("", "RequestLatency"): 3, ("", "ToolCalls"): 3, ("", "ToolErrors"): 3}


def test_a_handshake_creates_a_session_and_delete_ends_it(legacy: LegacyPeer, kept: Samples) -> None:
    kept.take()
    legacy.connect()
    assert legacy.send("DELETE", b"", legacy.headers).status == 200

    found = counts(kept)

    assert (found["", "SessionCreated"], found["", "SessionTerminated"]) == (1, 1)


def test_a_stream_that_is_resumed_counts_and_one_that_is_opened_does_not(
    legacy: LegacyPeer, kept: Samples, settings: Settings
) -> None:
    settings.STREAM_SECONDS = 0
    kept.take()
    session = default_store().load(legacy.session_id)
    headers = {**legacy.headers, "Accept": "text/event-stream"}

    legacy.send("GET", b"", headers)
    assert counts(kept) == {}
    legacy.send("GET", b"", {**headers, "Last-Event-ID": schema.event_id(stream_id_of(session), 0)})

    assert counts(kept) == {("", "StreamResumed"): 1}
    # Or this process would go on to look for messages of the session, in the tests after this one.
    legacy.send("DELETE", b"", legacy.headers)
